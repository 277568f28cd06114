/**
 * Whatever is split between Envoy's routes and the plan's rules: together they choose what the Gateway API's precedence chooses.
 * The oracle below reads the HTTPRoutes only; the other side simulates Envoy's first match, then the plan, then Envoy again.
 */
import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { stringify } from 'yaml'
import { readTexts } from '../config/object-set.ts'
import type { RouteJson } from '../gen/envoy/config/route/v3/route_components_pb.ts'
import type { RouteConfigurationJson } from '../gen/envoy/config/route/v3/route_pb.ts'
import type { RulePlan, ValueMatch } from '../pipeline/plan.ts'
import { type Compiled, compile } from './compile.ts'

interface Request {
  readonly path: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string>>
  readonly model: string
}

interface Match {
  readonly path: { readonly type: string; readonly value: string }
  readonly method?: string
  readonly headers: readonly { readonly name: string; readonly value: string }[]
  readonly queryParams: readonly { readonly name: string; readonly value: string }[]
}

interface Rule {
  readonly matches: readonly Match[]
  readonly pool: boolean
}

interface Route {
  readonly rules: readonly Rule[]
  readonly age: number | undefined
}

const MODEL_HEADER = 'X-Gateway-Model-Name'
const paths = ['/', '/a', '/a/b', '/a/b/c', '/ab', '/c', '/v1/models']
const value = fc.constantFrom('1', '2')
const path = fc.oneof(
  fc.record({ type: fc.constantFrom('Exact', 'PathPrefix'), value: fc.constantFrom(...paths) }),
  // One expression only: whether two overlap can't be told, which is a stated limit.
  fc.constant({ type: 'RegularExpression', value: '/[a-c](/b)?' }),
)
const match: fc.Arbitrary<Match> = fc.record(
  {
    path,
    method: fc.constantFrom('GET', 'POST'),
    headers: fc.uniqueArray(fc.record({ name: fc.constantFrom('x-h', MODEL_HEADER), value }), {
      selector: header => header.name,
      maxLength: 2,
    }),
    queryParams: fc.array(fc.record({ name: fc.constant('q'), value }), { maxLength: 1 }),
  },
  { requiredKeys: ['path', 'headers', 'queryParams'] },
)
const rule: fc.Arbitrary<Rule> = fc.record({
  matches: fc.array(match, { minLength: 1, maxLength: 2 }),
  pool: fc.boolean(),
})
const routes: fc.Arbitrary<Route[]> = fc.array(
  fc.record({
    rules: fc.array(rule, { minLength: 1, maxLength: 4 }),
    age: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  }),
  { minLength: 1, maxLength: 3 },
)
const request: fc.Arbitrary<Request> = fc.record({
  path: fc.constantFrom(...paths, '/a/', '/a/bc', '/c/b', '/zzz'),
  method: fc.constantFrom('GET', 'POST', 'PUT'),
  headers: fc.oneof(
    fc.constant({}),
    value.map(text => ({ 'x-h': text })),
  ),
  query: fc.oneof(
    fc.constant({}),
    value.map(text => ({ q: text })),
  ),
  model: fc.constantFrom('1', '2', '3'),
})

const objectName = (route: number, rule: number) => `r${route}-${rule}`

function toYaml(list: readonly Route[]): string {
  const documents: object[] = [
    {
      kind: 'Gateway',
      apiVersion: 'gateway.networking.k8s.io/v1',
      metadata: { name: 'gw' },
      spec: { listeners: [{ name: 'l', port: 80, protocol: 'HTTP' }] },
    },
  ]
  for (const [index, { rules, age }] of list.entries()) {
    const metadata = { name: `route${index}`, ...(age && { creationTimestamp: `2026-01-0${age}T00:00:00Z` }) }
    const spec = {
      parentRefs: [{ name: 'gw' }],
      rules: rules.map(({ matches, pool }, ruleIndex) => ({
        matches,
        backendRefs: [
          pool
            ? { group: 'inference.networking.k8s.io', kind: 'InferencePool', name: objectName(index, ruleIndex) }
            : { group: 'signalbox.dev', kind: 'SignalboxBackend', name: objectName(index, ruleIndex) },
        ],
      })),
    }
    documents.push({ kind: 'HTTPRoute', apiVersion: 'gateway.networking.k8s.io/v1', metadata, spec })
    for (const ruleIndex of rules.keys()) {
      const name = objectName(index, ruleIndex)
      documents.push(
        {
          kind: 'InferencePool',
          apiVersion: 'inference.networking.k8s.io/v1',
          metadata: { name },
          spec: { selector: { matchLabels: { name } }, targetPorts: [{ number: 1 }] },
        },
        {
          kind: 'SignalboxBackend',
          apiVersion: 'signalbox.dev/v1alpha1',
          metadata: { name, labels: { name } },
          spec: { endpoints: [{ address: '10.0.0.1', port: 1 }] },
        },
      )
    }
  }
  return documents.map(document => stringify(document, { aliasDuplicateObjects: false })).join('---\n')
}

/** What the Gateway API says, read from its text: the cluster, or undefined. */
function oracle(list: readonly Route[], request: Request): string | undefined {
  const units = list.flatMap(({ rules, age }, route) =>
    rules.flatMap(({ matches, pool }, rule) =>
      matches.map((match, index) => ({ match, pool, route, rule, index, age: age ?? 99 })),
    ),
  )
  const pathRank = (unit: (typeof units)[number]) => {
    const { type, value } = unit.match.path
    return type === 'Exact' ? 0 : type === 'RegularExpression' ? 1 : 1000 - value.length
  }
  const rank = (unit: (typeof units)[number]) => [
    pathRank(unit),
    unit.match.method === undefined ? 1 : 0,
    -unit.match.headers.length,
    -unit.match.queryParams.length,
    unit.age,
    unit.route,
    unit.rule,
    unit.index,
  ]
  const [first] = units
    .filter(({ match }) => matches(match, request))
    .sort((a, b) => {
      const [ra, rb] = [rank(a), rank(b)]
      const place = ra.findIndex((part, index) => part !== rb[index])
      return place < 0 ? 0 : ra[place]! - rb[place]!
    })
  if (first === undefined) return undefined
  return `${first.pool ? 'pool' : 'backend'}/default/${objectName(first.route, first.rule)}`
}

function matches(match: Match, request: Request): boolean {
  const { type, value } = match.path
  const pathFits =
    type === 'Exact'
      ? request.path === value
      : type === 'RegularExpression'
        ? /^(?:\/[a-c](\/b)?)$/.test(request.path)
        : `${request.path}/`.startsWith(value === '/' ? '/' : `${value}/`)
  return (
    pathFits &&
    (match.method === undefined || match.method === request.method) &&
    match.headers.every(({ name, value }) =>
      name === MODEL_HEADER ? request.model === value : request.headers[name] === value,
    ) &&
    match.queryParams.every(({ name, value }) => request.query[name] === value)
  )
}

/** Envoy's first matching route; `target` is the header that the plan's answer sets. */
function envoyRoute(config: RouteConfigurationJson, request: Request, target?: string): RouteJson {
  const headers: Record<string, string> = { ...request.headers, ':method': request.method }
  if (target !== undefined) headers['x-signalbox-target'] = target
  return config.virtualHosts![0]!.routes!.find(({ match }) => {
    if (match === undefined) return false
    const { prefix, path, pathSeparatedPrefix, safeRegex, headers: wanted = [], queryParameters = [] } = match
    const pathFits =
      (prefix !== undefined && request.path.startsWith(prefix)) ||
      (path !== undefined && request.path === path) ||
      (pathSeparatedPrefix !== undefined && `${request.path}/`.startsWith(`${pathSeparatedPrefix}/`)) ||
      (safeRegex !== undefined && new RegExp(`^(?:${safeRegex.regex})$`).test(request.path))
    return (
      pathFits &&
      wanted.every(header => headers[header.name!] === header.stringMatch!.exact) &&
      queryParameters.every(parameter => request.query[parameter.name!] === parameter.stringMatch!.exact)
    )
  })!
}

function planRule(rules: readonly RulePlan[], request: Request): RulePlan | undefined {
  const fits = (condition: ValueMatch | undefined, text: string | undefined) =>
    condition === undefined || text === condition.value
  return rules.find(
    ({ path, method, headers, query, model }) =>
      (path === undefined || `${request.path}/`.startsWith(path.value === '/' ? '/' : `${path.value}/`)) &&
      (method === undefined || method === request.method) &&
      headers.every(header => fits(header, request.headers[header.name])) &&
      query.every(parameter => fits(parameter, request.query[parameter.name])) &&
      fits(model, request.model),
  )
}

function chosen({ envoy, plan }: Compiled, request: Request): string | undefined {
  const config: RouteConfigurationJson = envoy.routes[0]!
  const first = envoyRoute(config, request)
  const perRoute = first.typedPerFilterConfig?.['signalbox.ext_proc']
  if (perRoute === undefined) return first.route?.cluster
  const entry = plan.entries.find(({ id }) => id === first.name)!
  expect(JSON.stringify(perRoute)).toContain(entry.id)
  if (entry.listModels) return 'models'
  const target = planRule(entry.rules, request)?.targets[0]
  if (target === undefined) return undefined
  const second = envoyRoute(config, request, target.id)
  expect(second.name).toBe(target.id)
  // The running filter isn't opened anew, but the target must ask for the same.
  expect(second.typedPerFilterConfig).toEqual(first.typedPerFilterConfig)
  return second.route?.cluster
}

describe('routing', () => {
  it('chooses what the Gateway API chooses', () => {
    fc.assert(
      fc.property(routes, fc.array(request, { minLength: 5, maxLength: 15 }), (list, requests) => {
        const set = readTexts([{ file: 'f.yaml', text: toYaml(list) }])
        expect(set.errors).toEqual([])
        const compiled = compile(set.items, { extProc: { addresses: ['127.0.0.1:1'] } })
        expect(compiled.errors).toEqual([])
        for (const request of requests) {
          const actual = chosen(compiled, request)
          const expected = oracle(list, request)
          if (actual === 'models') {
            // Ours only where nobody wrote a rule for this very path.
            expect(request).toMatchObject({ path: '/v1/models', method: 'GET' })
            const exact = list.some(({ rules }) =>
              rules.some(rule => rule.matches.some(({ path }) => path.type === 'Exact' && path.value === '/v1/models')),
            )
            expect(exact).toBe(false)
          } else expect({ request, cluster: actual }).toEqual({ request, cluster: expected })
        }
      }),
      { numRuns: 100 },
    )
  })
})
