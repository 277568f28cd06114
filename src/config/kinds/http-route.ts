import { z } from 'zod'
import type { KindObject } from '../object.ts'
import {
  duration,
  headerName,
  headerValue,
  hostname,
  kindSchema,
  namespaceName,
  object,
  objectName,
  port,
  preciseHostname,
  regularExpression,
  weight,
} from './common.ts'

/** HTTPRoute (gateway.networking.k8s.io/v1): https://gateway-api.sigs.k8s.io/reference/spec/#httproute */
const absolutePath = z
  .string()
  .max(1024)
  .regex(/^\//, 'must start with "/"')
  .refine(text => !/\/\/|\/\.\.?(\/|$)|%2f/i.test(text), 'must be normalised: no "//", "/./", "/../" or "%2F"')
  .refine(text => !/[?#\s]/.test(text), 'must not contain "?", "#" or spaces')

const pathOrNothing = z.string().superRefine((text, context) => {
  if (text === '') return
  for (const { message } of absolutePath.safeParse(text).error?.issues ?? [])
    context.addIssue({ code: 'custom', message })
})

const pathMatch = object({
  type: z.enum(['Exact', 'PathPrefix', 'RegularExpression']).default('PathPrefix'),
  value: z.string().default('/'),
}).superRefine((match, context) => {
  const check = match.type === 'RegularExpression' ? regularExpression : absolutePath
  const result = check.safeParse(match.value)
  for (const issue of result.error?.issues ?? [])
    context.addIssue({ code: 'custom', path: ['value'], message: issue.message })
})

function valueMatch(name: z.ZodString) {
  return object({
    type: z.enum(['Exact', 'RegularExpression']).default('Exact'),
    name,
    value: z.string().min(1).max(4096),
  }).superRefine((match, context) => {
    if (match.type !== 'RegularExpression') return
    for (const issue of regularExpression.safeParse(match.value).error?.issues ?? [])
      context.addIssue({ code: 'custom', path: ['value'], message: issue.message })
  })
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const

const routeMatch = object({
  path: pathMatch.default({ type: 'PathPrefix', value: '/' }),
  method: z.enum(METHODS).optional(),
  headers: z.array(valueMatch(headerName)).max(16).default([]),
  queryParams: z
    .array(valueMatch(z.string().min(1).max(256)))
    .max(16)
    .default([]),
})

const changeableHeader = headerName.refine(
  name => !/^(host|content-length|transfer-encoding|connection)$/i.test(name),
  'this header can not be changed by a filter',
)
const headerEntry = object({ name: changeableHeader, value: headerValue })
const headerModifier = object({
  set: z.array(headerEntry).max(16).default([]),
  add: z.array(headerEntry).max(16).default([]),
  remove: z.array(changeableHeader).max(16).default([]),
})

const pathModifier = z.discriminatedUnion('type', [
  object({ type: z.literal('ReplaceFullPath'), replaceFullPath: absolutePath }),
  object({ type: z.literal('ReplacePrefixMatch'), replacePrefixMatch: pathOrNothing }),
])

const backendObject = {
  group: z.string().default(''),
  kind: z.string().default('Service'),
  name: objectName,
  namespace: namespaceName.optional(),
  port: port.optional(),
}

const requestHeaderModifier = object({
  type: z.literal('RequestHeaderModifier'),
  requestHeaderModifier: headerModifier,
})
const responseHeaderModifier = object({
  type: z.literal('ResponseHeaderModifier'),
  responseHeaderModifier: headerModifier,
})

function unsupported<Type extends string>(type: Type) {
  return z.looseObject({
    type: z.literal(type).refine(() => false, `the filter ${type} is not supported`),
  })
}

const routeFilter = z.discriminatedUnion('type', [
  requestHeaderModifier,
  responseHeaderModifier,
  object({
    type: z.literal('RequestRedirect'),
    requestRedirect: object({
      scheme: z.enum(['http', 'https']).optional(),
      hostname: preciseHostname.optional(),
      path: pathModifier.optional(),
      port: port.optional(),
      statusCode: z.literal([301, 302, 303, 307, 308]).default(302),
    }),
  }),
  object({
    type: z.literal('URLRewrite'),
    urlRewrite: object({ hostname: preciseHostname.optional(), path: pathModifier.optional() }),
  }),
  object({
    type: z.literal('RequestMirror'),
    requestMirror: object({ backendRef: object(backendObject), percent: z.int().min(0).max(100).default(100) }),
  }),
  unsupported('CORS'),
  unsupported('ExtensionRef'),
  unsupported('ExternalAuth'),
])

const backendFilter = z.discriminatedUnion('type', [
  requestHeaderModifier,
  responseHeaderModifier,
  ...(['RequestRedirect', 'URLRewrite', 'RequestMirror', 'CORS', 'ExtensionRef', 'ExternalAuth'] as const).map(type =>
    z.looseObject({ type: z.literal(type).refine(() => false, `the filter ${type} is not supported on a backendRef`) }),
  ),
])

const rule = object({
  name: objectName.optional(),
  matches: z.array(routeMatch).max(64).optional(),
  filters: z.array(routeFilter).max(16).default([]),
  backendRefs: z
    .array(object({ ...backendObject, weight: weight.default(1), filters: z.array(backendFilter).max(16).default([]) }))
    .max(16)
    .default([]),
  timeouts: object({ request: duration.optional(), backendRequest: duration.optional() })
    .refine(
      value => !value.request || value.backendRequest === undefined || value.backendRequest <= value.request,
      'backendRequest must not be longer than request',
    )
    .optional(),
  retry: object({
    codes: z.array(z.int().min(400).max(599)).default([]),
    attempts: z.int().min(1).max(20).default(1),
    backoff: duration.optional(),
  }).optional(),
}).superRefine((rule, context) => {
  const seen = new Set<string>()
  for (const [index, filter] of rule.filters.entries()) {
    const { type } = filter
    if (type !== 'RequestMirror' && seen.has(type))
      context.addIssue({ code: 'custom', path: ['filters', index], message: `a second ${type} in one rule` })
    seen.add(type)
    const path =
      filter.type === 'URLRewrite'
        ? filter.urlRewrite.path
        : filter.type === 'RequestRedirect'
          ? filter.requestRedirect.path
          : undefined
    if (path?.type !== 'ReplacePrefixMatch') continue
    const matches = rule.matches ?? []
    if (matches.some(match => match.path.type !== 'PathPrefix'))
      context.addIssue({
        code: 'custom',
        path: ['filters', index],
        message: 'ReplacePrefixMatch needs every match of the rule to be a PathPrefix',
      })
  }
  if (seen.has('RequestRedirect') && seen.has('URLRewrite'))
    context.addIssue({
      code: 'custom',
      path: ['filters'],
      message: 'RequestRedirect and URLRewrite exclude each other',
    })
  if (seen.has('RequestRedirect') && rule.backendRefs.length > 0)
    context.addIssue({ code: 'custom', path: ['backendRefs'], message: 'a rule that redirects has no backendRefs' })
})

export const httpRouteSchema = kindSchema({
  spec: object({
    parentRefs: z
      .array(
        object({
          group: z.string().default('gateway.networking.k8s.io'),
          kind: z.string().default('Gateway'),
          name: objectName,
          namespace: namespaceName.optional(),
          sectionName: objectName.optional(),
          port: port.optional(),
        }),
      )
      .max(32)
      .default([]),
    hostnames: z.array(hostname).max(16).default([]),
    rules: z.array(rule).max(16).optional(),
  }),
})

type HttpRouteSpec = z.output<typeof httpRouteSchema>['spec']
export type HttpRouteRule = NonNullable<HttpRouteSpec['rules']>[number]
export type HttpRouteMatch = NonNullable<HttpRouteRule['matches']>[number]
export type HttpRouteFilter = HttpRouteRule['filters'][number]
export type ParentRef = HttpRouteSpec['parentRefs'][number]
export type HttpRoute = KindObject<'HTTPRoute', { readonly spec: HttpRouteSpec }>
