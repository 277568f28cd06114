/** Envoy's access log formats (command operators), as far as compiled configurations use them. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import { metadataAt } from './cluster.ts'
import type { HeaderList } from './header-list.ts'

/** Everything that a log line may show of one exchange. */
export interface LogRecord {
  readonly startedAt: Date
  readonly durationMs: number
  /** From the start to the first byte from upstream. */
  readonly responseMs: number | undefined
  /** As the client sent it. */
  readonly originalPath: string
  readonly protocol: string
  readonly requestHeaders: HeaderList
  readonly responseHeaders: HeaderList | undefined
  readonly responseTrailers: HeaderList | undefined
  readonly status: number
  readonly details: string
  readonly flags: string
  readonly bytesReceived: number
  readonly bytesSent: number
  readonly upstreamHost: string | undefined
  readonly upstreamCluster: string | undefined
  readonly upstreamAttempts: number
  readonly routeName: string | undefined
  readonly virtualHost: string | undefined
  readonly downstreamRemote: string
  readonly downstreamLocal: string
  readonly metadata: ReadonlyMap<string, JsonObject>
}

type Operator = (record: LogRecord, argument: string) => JsonValue | undefined

function header(headers: HeaderList | undefined, argument: string): string | undefined {
  for (const name of argument.split('?')) {
    const value = headers?.get(name.toLowerCase())
    if (value !== undefined) return value
  }
  return undefined
}

function withoutPort(address: string): string {
  return address.replace(/:\d+$/, '')
}

/** `%PATH(X:Y)%`: X = WQ or NQ (without query), Y = ORIG, PATH or ORIG_OR_PATH. */
function pathOperator(record: LogRecord, argument: string): string {
  const [query, which] = argument.split(':')
  const path = which === 'PATH' ? (record.requestHeaders.get(':path') ?? '') : record.originalPath
  return query === 'NQ' ? (path.split('?', 1)[0] ?? '') : path
}

const OPERATORS: Readonly<Record<string, Operator>> = {
  START_TIME: record => record.startedAt.toISOString(),
  DURATION: record => Math.round(record.durationMs),
  RESPONSE_DURATION: record => (record.responseMs === undefined ? undefined : Math.round(record.responseMs)),
  PATH: pathOperator,
  PROTOCOL: record => record.protocol,
  REQ: (record, argument) => header(record.requestHeaders, argument),
  RESP: (record, argument) => header(record.responseHeaders, argument),
  TRAILER: (record, argument) => header(record.responseTrailers, argument),
  RESPONSE_CODE: record => record.status,
  RESPONSE_CODE_DETAILS: record => record.details || undefined,
  RESPONSE_FLAGS: record => record.flags || undefined,
  BYTES_RECEIVED: record => record.bytesReceived,
  BYTES_SENT: record => record.bytesSent,
  UPSTREAM_HOST: record => record.upstreamHost,
  UPSTREAM_REMOTE_ADDRESS: record => record.upstreamHost,
  UPSTREAM_CLUSTER: record => record.upstreamCluster,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: record => record.upstreamAttempts,
  ROUTE_NAME: record => record.routeName,
  VIRTUAL_CLUSTER_NAME: () => undefined,
  DOWNSTREAM_REMOTE_ADDRESS: record => record.downstreamRemote || undefined,
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: record => record.downstreamRemote || undefined,
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: record => withoutPort(record.downstreamRemote) || undefined,
  DOWNSTREAM_LOCAL_ADDRESS: record => record.downstreamLocal || undefined,
  DYNAMIC_METADATA: (record, argument) => {
    const [namespace = '', ...keys] = argument.split(':')
    return metadataAt(record.metadata, { namespace, keys })
  },
}

const COMMAND = /%([A-Z_0-9]+)(?:\(([^)]*)\))?(?::(\d+))?%|%%/g

type Formatter = (record: LogRecord) => JsonValue | undefined

/** Throws `SyntaxError` for an operator that the embedded data plane doesn't know. */
function formatter(text: string): Formatter {
  const parts: (string | Formatter)[] = []
  let last = 0
  for (const match of text.matchAll(COMMAND)) {
    if (match.index > last) parts.push(text.slice(last, match.index))
    last = match.index + match[0].length
    const [all, name, argument = '', limit] = match
    if (all === '%%') parts.push('%')
    else {
      const operator = OPERATORS[name ?? '']
      if (operator === undefined) throw new SyntaxError(`access log operator %${name}% is not served`)
      parts.push(record => truncate(operator(record, argument), limit))
    }
  }
  if (last < text.length) parts.push(text.slice(last))
  const only = parts[0]
  if (parts.length === 1 && typeof only === 'function') return only
  return record => parts.map(part => (typeof part === 'string' ? part : plain(part(record)))).join('')
}

function truncate(value: JsonValue | undefined, limit: string | undefined): JsonValue | undefined {
  return limit === undefined || typeof value !== 'string' ? value : value.slice(0, Number(limit))
}

function plain(value: JsonValue | undefined): string {
  return value === undefined || value === null ? '-' : typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** A line of a text format, with the line break that the format has. Throws `SyntaxError`. */
export function textFormat(text: string): (record: LogRecord) => string {
  const format = formatter(text)
  return record => plain(format(record))
}

/** A JSON line; values keep their types. Throws `SyntaxError`. */
export function jsonFormat(template: JsonObject, omitEmpty: boolean): (record: LogRecord) => string {
  const build = (value: JsonValue): Formatter => {
    if (typeof value === 'string') return formatter(value)
    if (typeof value !== 'object' || value === null) return () => value
    if (Array.isArray(value)) {
      const items = value.map(build)
      return record => items.map(item => item(record) ?? null)
    }
    const entries = Object.entries(value).map(([key, item]) => [key, build(item)] as const)
    return record => {
      const object: JsonObject = {}
      for (const [key, item] of entries) {
        const result = item(record)
        if (result !== undefined || !omitEmpty) object[key] = result ?? null
      }
      return object
    }
  }
  const format = build(template)
  return record => `${JSON.stringify(format(record))}\n`
}

/** Envoy's default format, shortened by what the embedded data plane doesn't have. */
export const DEFAULT_FORMAT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
