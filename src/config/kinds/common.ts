import { isIP } from 'node:net'
import { RE2JS } from 're2js'
import { z } from 'zod'
import { parseDuration } from '../duration.ts'
import { didYouMean } from '../suggest.ts'

/**
 * An object that knows all its fields. The message has one line per unknown field, in the order of the issue's `keys`, so that
 * the reader of the issue can give each its own position.
 * `hints` says more about fields that people are known to bring from elsewhere.
 */
export function object<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
  hints: Readonly<Record<string, string>> = {},
): z.ZodObject<Shape, z.core.$strict> {
  const known = Object.keys(shape)
  return z.strictObject(shape, {
    error: issue => {
      if (issue.code !== 'unrecognized_keys') return undefined
      return issue.keys.map(key => `unknown field "${key}"${hintFor(key, hints) ?? didYouMean(key, known)}`).join('\n')
    },
  })
}

function hintFor(key: string, hints: Readonly<Record<string, string>>): string | undefined {
  return Object.hasOwn(hints, key) ? `: ${hints[key]}` : undefined
}

export const duration = z.string('must be a duration like 10s, 1h30m or 250ms').transform((text, context) => {
  const ms = parseDuration(text)
  if (ms !== undefined) return ms
  context.issues.push({
    code: 'custom',
    input: text,
    message: `must be a duration like 10s, 1h30m or 250ms, not "${text}"`,
  })
  return z.NEVER
})

/** A duration that isn't 0. */
export const positiveDuration = duration.refine(ms => ms > 0, 'must be longer than 0')

export const port = z.int().min(1).max(65_535)

const LABEL = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?'

export const objectName = z
  .string()
  .max(253)
  .regex(
    new RegExp(`^${LABEL}(?:\\.${LABEL})*$`),
    'must be a DNS name: lower-case letters, digits, "-" and ".", starting and ending with a letter or digit',
  )

export const namespaceName = z
  .string()
  .max(63)
  .regex(new RegExp(`^${LABEL}$`), 'must be a DNS label: lower-case letters, digits and "-"')

/** Host name as listeners and routes have it: no port, no IP address; the first label may be `*`. */
export const hostname = z
  .string()
  .min(1)
  .max(253)
  .regex(
    new RegExp(`^(?:\\*\\.)?${LABEL}(?:\\.${LABEL})*$`),
    'must be a lower-case host name without a port; only its first label may be "*"',
  )
  .refine(text => isIP(text) === 0, 'must be a host name, not an IP address')

/** Host name without a wildcard. */
export const preciseHostname = hostname.refine(text => !text.startsWith('*'), 'must not have a wildcard')

export const headerName = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, 'must be a valid header name')

export const headerValue = z
  .string()
  .max(4096)
  // oxlint-disable-next-line no-control-regex -- the control characters are what is refused
  .regex(/^[^\u0000-\u0008\u000a-\u001f\u007f]*$/, 'must not contain control characters')

export const labels = z.record(z.string(), z.string())

/** Regular expressions run in Envoy (RE2) and here (JavaScript): only what both understand alike. */
export const regularExpression = z
  .string()
  .min(1)
  .max(1024)
  .superRefine((text, context) => {
    if (/\(\?<?[=!]|\\[1-9]|\\k</.test(text)) {
      context.addIssue({ code: 'custom', message: 'look-around and back references are not supported (RE2)' })
      return
    }
    try {
      RE2JS.compile(text)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      context.addIssue({ code: 'custom', message: `isn't a valid regular expression: ${reason}` })
    }
  })

export const weight = z.int().min(0).max(1_000_000)

/** `metadata`: what we use, plus what an API server adds (accepted, not kept). */
const metadata = object({
  name: objectName,
  namespace: namespaceName.default('default'),
  labels: labels.default({}),
  annotations: labels.default({}),
  creationTimestamp: z.string().nullish(),
  generation: z.int().optional(),
  uid: z.unknown().optional(),
  resourceVersion: z.unknown().optional(),
  managedFields: z.unknown().optional(),
  ownerReferences: z.unknown().optional(),
  finalizers: z.unknown().optional(),
  selfLink: z.unknown().optional(),
}).transform(({ name, namespace, labels, annotations, creationTimestamp, generation }) => ({
  name,
  namespace,
  labels,
  annotations,
  ...(creationTimestamp == null ? {} : { creationTimestamp }),
  ...(generation === undefined ? {} : { generation }),
}))

/** The parts of every kind around its own fields; `status` is accepted and not kept. `hints`: see `object`. */
export function kindSchema<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
  hints: Readonly<Record<string, string>> = {},
) {
  return object({ apiVersion: z.string(), kind: z.string(), metadata, status: z.unknown().optional(), ...shape }, hints)
}
