import type { SignalboxParametersSpec } from '../../config/kinds/signalbox-parameters.ts'
import type { AccessLogJson } from '../../gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import { FileAccessLogSchema } from '../../gen/envoy/extensions/access_loggers/file/v3/file_pb.ts'
import { HttpGrpcAccessLogConfigSchema } from '../../gen/envoy/extensions/access_loggers/grpc/v3/als_pb.ts'
import { StdoutAccessLogSchema } from '../../gen/envoy/extensions/access_loggers/stream/v3/stream_pb.ts'
import { REPORT_HEADER, REPORT_HEADER_BINARY } from '../../inference/load-report.ts'
import { ALS_CLUSTER, METADATA_NAMESPACE } from '../names.ts'
import { pack } from './json.ts'

const ours = (key: string): string => `%DYNAMIC_METADATA(${METADATA_NAMESPACE}:${key})%`

const REPORTS = [REPORT_HEADER, REPORT_HEADER_BINARY]

/** One JSON line a request. No header that may carry a secret, no query (keys are sent in queries, too). */
const LINE = {
  time: '%START_TIME%',
  request_id: '%REQ(X-REQUEST-ID)%',
  method: '%REQ(:METHOD)%',
  path: '%PATH(NQ:ORIG_OR_PATH)%',
  authority: '%REQ(:AUTHORITY)%',
  protocol: '%PROTOCOL%',
  client: '%DOWNSTREAM_REMOTE_ADDRESS%',
  route: '%ROUTE_NAME%',
  rule: ours('route'),
  model: ours('model'),
  served_model: ours('served_model'),
  pool: ours('pool'),
  endpoint: ours('endpoint'),
  reason: ours('reason'),
  upstream: '%UPSTREAM_HOST%',
  upstream_cluster: '%UPSTREAM_CLUSTER%',
  attempts: '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
  status: '%RESPONSE_CODE%',
  flags: '%RESPONSE_FLAGS%',
  details: '%RESPONSE_CODE_DETAILS%',
  bytes_received: '%BYTES_RECEIVED%',
  bytes_sent: '%BYTES_SENT%',
  duration_ms: '%DURATION%',
  first_byte_ms: '%RESPONSE_DURATION%',
}

export interface LogContents {
  /** Also report each finished request to our access log service. */
  readonly als: boolean
  /** Entries for our service have the load reports of responses. */
  readonly loadReports: boolean
  /** Lines have the record of a decision, where a request asked for it with the key of explanations. */
  readonly decisions: boolean
}

/** How long the data plane may keep an entry for us before it sends it, ms. */
export const ALS_FLUSH_MS = 50

/** The loggers of every HTTP connection manager. */
export function accessLogsJson(
  settings: SignalboxParametersSpec['accessLog'],
  { als, decisions, loadReports }: LogContents,
): AccessLogJson[] {
  const loggers: AccessLogJson[] = []
  const jsonFormat = decisions ? { ...LINE, decision: ours('decision') } : LINE
  const logFormat = { jsonFormat, omitEmptyValues: true }
  if (settings.type === 'stdout') {
    loggers.push({ name: 'envoy.access_loggers.stdout', typedConfig: pack(StdoutAccessLogSchema, { logFormat }) })
  } else if (settings.type === 'file') {
    const typedConfig = pack(FileAccessLogSchema, { path: settings.path, logFormat })
    loggers.push({ name: 'envoy.access_loggers.file', typedConfig })
  }
  if (als) {
    loggers.push({
      name: 'envoy.access_loggers.http_grpc',
      typedConfig: pack(HttpGrpcAccessLogConfigSchema, {
        commonConfig: {
          logName: 'signalbox',
          transportApiVersion: 'V3',
          grpcService: { envoyGrpc: { clusterName: ALS_CLUSTER } },
          // In-flight counts fall by these messages: late by one flush at most.
          bufferFlushInterval: `${ALS_FLUSH_MS / 1000}s`,
          bufferSizeBytes: 16_384,
        },
        ...(loadReports ? { additionalResponseHeadersToLog: REPORTS, additionalResponseTrailersToLog: REPORTS } : {}),
      }),
    })
  }
  return loggers
}
