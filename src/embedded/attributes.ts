/** The CEL attributes that a processor can ask for (envoy-1.40-measured.md §9); an unknown or missing one is just absent. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import type { LogRecord } from './access-log.ts'
import type { SelectedRoute } from './route-table.ts'

type Attribute = (record: LogRecord, route: SelectedRoute | undefined) => JsonValue | undefined

function path(record: LogRecord): string {
  return record.requestHeaders.get(':path') ?? ''
}

function port(address: string): number | undefined {
  const text = /:(\d+)$/.exec(address)?.[1]
  return text === undefined ? undefined : Number(text)
}

const ATTRIBUTES: Readonly<Record<string, Attribute>> = {
  'request.path': path,
  'request.url_path': record => path(record).split('?', 1)[0],
  'request.query': record => path(record).split('?').slice(1).join('?'),
  'request.host': record => record.requestHeaders.get(':authority'),
  'request.scheme': record => record.requestHeaders.get(':scheme'),
  'request.method': record => record.requestHeaders.get(':method'),
  'request.id': record => record.requestHeaders.get('x-request-id'),
  'request.protocol': record => record.protocol,
  'request.referer': record => record.requestHeaders.get('referer'),
  'request.useragent': record => record.requestHeaders.get('user-agent'),
  'request.time': record => record.startedAt.toISOString(),
  'request.size': record => record.bytesReceived,
  'response.code': record => record.status || undefined,
  'response.code_details': record => record.details || undefined,
  'response.flags': record => record.flags || undefined,
  'response.size': record => record.bytesSent,
  'source.address': record => record.downstreamRemote || undefined,
  'source.port': record => port(record.downstreamRemote),
  'destination.address': record => record.downstreamLocal || undefined,
  'destination.port': record => port(record.downstreamLocal),
  'connection.mtls': () => false,
  'upstream.address': record => record.upstreamHost,
  'upstream.port': record => port(record.upstreamHost ?? ''),
  'upstream.request_attempt_count': record => record.upstreamAttempts || undefined,
  'xds.route_name': (_record, route) => route?.entry.name,
  'xds.virtual_host_name': (_record, route) => route?.entry.virtualHost,
  'xds.cluster_name': (_record, route) => route?.target?.cluster,
}

export function attributesOf(
  names: readonly string[],
  record: LogRecord,
  route: SelectedRoute | undefined,
): JsonObject {
  const result: JsonObject = {}
  for (const name of names) {
    const value = ATTRIBUTES[name]?.(record, route)
    if (value !== undefined) result[name] = value
  }
  return result
}
