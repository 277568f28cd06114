/** Envoy listeners with their connection managers, read into what the embedded data plane runs. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { AccessLog } from '../gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import type { SubstitutionFormatString } from '../gen/envoy/config/core/v3/substitution_format_string_pb.ts'
import {
  type FilterChain,
  FilterChainMatchSchema,
  FilterChainSchema,
} from '../gen/envoy/config/listener/v3/listener_components_pb.ts'
import { type Listener, ListenerSchema } from '../gen/envoy/config/listener/v3/listener_pb.ts'
import { FileAccessLogSchema } from '../gen/envoy/extensions/access_loggers/file/v3/file_pb.ts'
import { HttpGrpcAccessLogConfigSchema } from '../gen/envoy/extensions/access_loggers/grpc/v3/als_pb.ts'
import {
  StderrAccessLogSchema,
  StdoutAccessLogSchema,
} from '../gen/envoy/extensions/access_loggers/stream/v3/stream_pb.ts'
import { ExternalProcessorSchema } from '../gen/envoy/extensions/filters/http/ext_proc/v3/ext_proc_pb.ts'
import { RouterSchema } from '../gen/envoy/extensions/filters/http/router/v3/router_pb.ts'
import {
  type HttpConnectionManager,
  HttpConnectionManager_PathWithEscapedSlashesAction as Escaped,
  HttpConnectionManagerSchema,
} from '../gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { HeaderMutationSchema } from '../gen/envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation_pb.ts'
import { DEFAULT_FORMAT, jsonFormat, type LogRecord, textFormat } from './access-log.ts'
import type { ChainSettings, EarlyEdits, GrpcLog, ListenerSettings, LogTarget } from './configuration.ts'
import { type ExtProcSettings, readExtProc } from './ext-proc-settings.ts'
import { readHeaderEdits } from './header-edits.ts'
import { readData } from './read-cluster.ts'
import { readLocalReplies } from './read-local-replies.ts'
import { readRouteTable } from './read-routes.ts'
import { readSecrets, readServerTls, type Secrets } from './read-tls.ts'
import { milliseconds, pathOf, type Problems, readResource, unpackAs } from './resource-reader.ts'
import { stringPredicate } from './string-match.ts'

/** `headersTimeout`s, drain times and socket options have no meaning here; the rest is what every listener of ours has. */
const LISTENER = [
  'name',
  'address',
  'filterChains',
  'perConnectionBufferLimitBytes',
  'listenerFilters',
  'statPrefix',
  'trafficDirection',
  'enableReusePort',
  'drainType',
  'listenerFiltersTimeout',
  'metadata',
]
const MANAGER = [
  'codecType',
  'statPrefix',
  'routeSpecifier',
  'httpFilters',
  'commonHttpProtocolOptions',
  'httpProtocolOptions',
  'http2ProtocolOptions',
  'maxRequestHeadersKb',
  'streamIdleTimeout',
  'accessLog',
  'useRemoteAddress',
  'earlyHeaderMutationExtensions',
  'localReplyConfig',
  'generateRequestId',
  'alwaysSetRequestIdInResponse',
  'normalizePath',
  'mergeSlashes',
  'pathWithEscapedSlashesAction',
  'stripMatchingHostPort',
  'stripPortMode',
  'stripTrailingHostDot',
  'skipXffAppend',
  'preserveExternalRequestId',
  // Without effect here: there is no Server header of ours, and node has its own limits of time.
  'serverName',
  'serverHeaderTransformation',
  'requestHeadersTimeout',
  'requestTimeout',
  'drainTimeout',
  'delayedCloseTimeout',
  'streamFlushTimeout',
]
const BUFFER = 1024 * 1024
const STREAM_WINDOW = 256 * 1024
const CONNECTION_WINDOW = 16 * 1024 * 1024

export function readListeners(
  listeners: readonly JsonObject[],
  secrets: readonly JsonObject[],
  problems: Problems,
): ListenerSettings[] {
  const known = readSecrets(secrets, problems)
  return listeners.flatMap(json => {
    const path = pathOf('listener', json['name'])
    const listener = readResource(path, ListenerSchema, json, problems)
    const settings = listener === undefined ? undefined : readListener(path, listener, known, problems)
    return settings === undefined ? [] : [settings]
  })
}

function readListener(
  path: string,
  listener: Listener,
  secrets: Secrets,
  problems: Problems,
): ListenerSettings | undefined {
  problems.unsupported(path, ListenerSchema, listener, LISTENER)
  const socket = listener.address?.address
  if (socket?.case !== 'socketAddress' || socket.value.portSpecifier.case !== 'portValue') {
    problems.add(path, 'only socket addresses with a port are served')
    return undefined
  }
  const address = { host: socket.value.address, port: socket.value.portSpecifier.value }
  const chains = listener.filterChains
    .map(chain => readChain(path, listener, chain, address, secrets, problems))
    .filter(chain => chain !== undefined)
  if (chains.some(chain => chain.tls !== undefined) && chains.some(chain => chain.tls === undefined))
    problems.add(path, 'plain and TLS filter chains on one port are not served')
  return { name: listener.name, address, chains }
}

function readChain(
  parent: string,
  listener: Listener,
  chain: FilterChain,
  address: ListenerSettings['address'],
  secrets: Secrets,
  problems: Problems,
): ChainSettings | undefined {
  const path = chain.name === '' || chain.name === listener.name ? parent : `${parent} › ${chain.name}`
  problems.unsupported(path, FilterChainSchema, chain, [
    'filterChainMatch',
    'filters',
    'transportSocket',
    'name',
    'metadata',
    'transportSocketConnectTimeout',
  ])
  if (chain.filterChainMatch !== undefined)
    problems.unsupported(path, FilterChainMatchSchema, chain.filterChainMatch, [
      'serverNames',
      'transportProtocol',
      'applicationProtocols',
    ])
  const [filter] = chain.filters
  const manager =
    filter?.configType.case === 'typedConfig'
      ? unpackAs(filter.configType.value, HttpConnectionManagerSchema)
      : undefined
  if (manager === undefined || chain.filters.length !== 1) {
    problems.add(path, 'only chains of one HTTP connection manager are served')
    return undefined
  }
  problems.unsupported(path, HttpConnectionManagerSchema, manager, MANAGER)
  const routes = manager.routeSpecifier
  const http2 = manager.http2ProtocolOptions
  return {
    key: `${listener.name} ${(chain.filterChainMatch?.serverNames ?? []).join(' ')}`,
    serverNames: chain.filterChainMatch?.serverNames.map(name => name.toLowerCase()) ?? [],
    tls: readServerTls(path, chain.transportSocket, secrets, problems),
    statPrefix: manager.statPrefix,
    address,
    bufferLimit: listener.perConnectionBufferLimitBytes ?? BUFFER,
    routeTable: routes.case === 'rds' ? routes.value.routeConfigName : '',
    routes: routes.case === 'routeConfig' ? readRouteTable(path, routes.value, problems) : undefined,
    extProc: readHttpFilters(path, manager, problems),
    early: readEarlyEdits(path, manager, problems),
    localReplies: readLocalReplies(path, manager.localReplyConfig, problems),
    codec: {
      http1Trailers: manager.httpProtocolOptions?.enableTrailers === true,
      streamWindow: http2?.initialStreamWindowSize ?? STREAM_WINDOW,
      connectionWindow: http2?.initialConnectionWindowSize ?? CONNECTION_WINDOW,
      maxConcurrentStreams: http2?.maxConcurrentStreams ?? 1024,
      maxHeaderBytes: (manager.maxRequestHeadersKb ?? 60) * 1024,
      idleTimeoutMs: milliseconds(manager.commonHttpProtocolOptions?.idleTimeout, 3_600_000),
    },
    streamIdleTimeoutMs: milliseconds(manager.streamIdleTimeout, 300_000),
    generateRequestId: manager.generateRequestId ?? true,
    returnRequestId: manager.alwaysSetRequestIdInResponse,
    edge: manager.useRemoteAddress === true,
    appendForwardedFor: manager.useRemoteAddress === true && !manager.skipXffAppend,
    stripPort:
      manager.stripPortMode.case === 'stripAnyHostPort' && manager.stripPortMode.value
        ? 'any'
        : manager.stripMatchingHostPort
          ? 'matching'
          : 'no',
    stripTrailingDot: manager.stripTrailingHostDot,
    path: {
      normalize: manager.normalizePath === true,
      mergeSlashes: manager.mergeSlashes,
      escapedSlashes: escapedSlashes(manager.pathWithEscapedSlashesAction),
    },
    ...readAccessLogs(path, manager.accessLog, problems),
  }
}

function escapedSlashes(action: number): ChainSettings['path']['escapedSlashes'] {
  if (action === Escaped.REJECT_REQUEST) return 'reject'
  if (action === Escaped.UNESCAPE_AND_REDIRECT) return 'redirect'
  return action === Escaped.UNESCAPE_AND_FORWARD ? 'forward' : 'keep'
}

/** At most one ext_proc filter, then the router. */
function readHttpFilters(
  path: string,
  manager: HttpConnectionManager,
  problems: Problems,
): ExtProcSettings | undefined {
  let extProc: ExtProcSettings | undefined
  let last = ''
  for (const filter of manager.httpFilters) {
    const any = filter.configType.case === 'typedConfig' ? filter.configType.value : undefined
    const processor = unpackAs(any, ExternalProcessorSchema)
    if (processor !== undefined) {
      if (extProc !== undefined) problems.add(path, 'only one ext_proc filter is served')
      if (filter.disabled) problems.add(path, `HTTP filter ${filter.name}: disabled is not served`)
      try {
        extProc = readExtProc(`${path} › ${filter.name}`, processor, manager.statPrefix, problems)
      } catch (error) {
        problems.add(path, error instanceof Error ? error.message : String(error))
      }
    } else if (unpackAs(any, RouterSchema) === undefined) problems.add(path, `HTTP filter ${filter.name} is not served`)
    last = any?.typeUrl ?? ''
  }
  if (!last.endsWith(RouterSchema.typeName)) problems.add(path, 'the last HTTP filter must be the router')
  return extProc
}

function readEarlyEdits(path: string, manager: HttpConnectionManager, problems: Problems): EarlyEdits {
  const remove: string[] = []
  const removeMatching: EarlyEdits['removeMatching'][number][] = []
  const add: Parameters<typeof readHeaderEdits>[1][number][] = []
  for (const extension of manager.earlyHeaderMutationExtensions) {
    const mutation = unpackAs(extension.typedConfig, HeaderMutationSchema)
    if (mutation === undefined) problems.add(path, `early header mutation ${extension.name} is not served`)
    for (const { action } of mutation?.mutations ?? []) {
      if (action.case === 'remove') remove.push(action.value)
      else if (action.case === 'append') add.push(action.value)
      else if (action.case === 'removeOnMatch' && action.value.keyMatcher !== undefined)
        removeMatching.push(stringPredicate(action.value.keyMatcher))
    }
  }
  return { edits: readHeaderEdits(remove, add), removeMatching }
}

function readAccessLogs(
  path: string,
  logs: readonly AccessLog[],
  problems: Problems,
): { accessLogs: LogTarget[]; grpcLogs: GrpcLog[] } {
  const accessLogs: LogTarget[] = []
  const grpcLogs: GrpcLog[] = []
  for (const log of logs) {
    const any = log.configType.value
    if (log.filter !== undefined) problems.add(path, `access log ${log.name}: a filter is not served`)
    const file = unpackAs(any, FileAccessLogSchema)
    const stdout = unpackAs(any, StdoutAccessLogSchema)
    const stderr = unpackAs(any, StderrAccessLogSchema)
    const grpc = unpackAs(any, HttpGrpcAccessLogConfigSchema)
    const target = file?.path ?? (stdout === undefined ? '/dev/stderr' : '/dev/stdout')
    const plain = file ?? stdout ?? stderr
    if (plain !== undefined) {
      const line = lineFormat(path, plain.accessLogFormat.value, problems)
      accessLogs.push({ target, line })
    } else if (grpc !== undefined) {
      const { commonConfig } = grpc
      const service = commonConfig?.grpcService?.targetSpecifier
      if (service?.case !== 'envoyGrpc') problems.add(path, `access log ${log.name} needs grpc_service.envoy_grpc`)
      grpcLogs.push({
        cluster: service?.case === 'envoyGrpc' ? service.value.clusterName : '',
        logName: commonConfig?.logName ?? '',
        flushMs: milliseconds(commonConfig?.bufferFlushInterval, 1000),
        responseHeaders: grpc.additionalResponseHeadersToLog,
        responseTrailers: grpc.additionalResponseTrailersToLog,
      })
    } else problems.add(path, `access log ${log.name} is not served`)
  }
  return { accessLogs, grpcLogs }
}

function lineFormat(
  path: string,
  format: SubstitutionFormatString | undefined,
  problems: Problems,
): (record: LogRecord) => string {
  try {
    if (format?.format.case === 'jsonFormat') return jsonFormat(format.format.value, format.omitEmptyValues)
    return textFormat(
      format?.format.case === 'textFormatSource' ? (readData(format.format.value) ?? '') : DEFAULT_FORMAT,
    )
  } catch (error) {
    problems.add(path, error instanceof Error ? error.message : String(error))
    return () => ''
  }
}
