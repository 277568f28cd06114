/** The ext_proc filter's configuration, and what one request gets after its route's overrides. */
import {
  type ProcessingMode,
  ProcessingMode_BodySendMode as Body,
  ProcessingMode_HeaderSendMode as Send,
} from '../gen/envoy/extensions/filters/http/ext_proc/v3/processing_mode_pb.ts'
import type { GrpcService } from '../gen/envoy/config/core/v3/grpc_service_pb.ts'
import {
  type ExternalProcessor,
  ExternalProcessorSchema,
  ExternalProcessor_RouteCacheAction as RouteCacheAction,
  type ExtProcPerRoute,
} from '../gen/envoy/extensions/filters/http/ext_proc/v3/ext_proc_pb.ts'
import { type MutationRules, mutationRules } from './header-mutation.ts'
import { milliseconds, Problems } from './resource-reader.ts'
import type { SelectedRoute } from './route-table.ts'
import { stringPredicate } from './string-match.ts'

/** Body modes by Envoy's numbers. BUFFERED_PARTIAL and GRPC are not served. */
export const BodyMode = {
  NONE: Body.NONE,
  STREAMED: Body.STREAMED,
  BUFFERED: Body.BUFFERED,
  FULL_DUPLEX: Body.FULL_DUPLEX_STREAMED,
} as const
export type BodyMode = (typeof BodyMode)[keyof typeof BodyMode]

/** What one direction sends to the processor. */
export interface DirectionModes {
  readonly headers: boolean
  readonly body: BodyMode
  readonly trailers: boolean
}

export interface Modes {
  readonly request: DirectionModes
  readonly response: DirectionModes
}

export interface ExtProcSettings {
  /** Prefix of the counters, `http.<hcm>.ext_proc.` or with the filter's own. */
  readonly statPrefix: string
  readonly cluster: string
  readonly authority: string
  readonly initialMetadata: ReadonlyMap<string, string>
  readonly failOpen: boolean
  readonly modes: Modes
  /** Filter-level modes decide whether overrides are allowed at all, whatever the route says. */
  readonly filterModes: Modes
  readonly nowait: boolean
  readonly allowModeOverride: boolean
  /** Empty: any. */
  readonly allowedOverrideModes: readonly ProcessingMode[]
  readonly requestAttributes: readonly string[]
  readonly responseAttributes: readonly string[]
  readonly messageTimeoutMs: number
  /** 0: `override_message_timeout` is ignored. */
  readonly maxMessageTimeoutMs: number
  readonly rules: MutationRules
  readonly forwards: (name: string) => boolean
  readonly routeCache: 'default' | 'clear' | 'retain'
  readonly disableImmediateResponse: boolean
  readonly forwardingNamespaces: readonly string[]
  readonly receivingNamespaces: ReadonlySet<string>
  readonly observability: boolean
  readonly deferredCloseMs: number
  readonly statusOnError: number
  readonly allowContentLength: boolean
}

const READ = [
  'grpcService',
  'failureModeAllow',
  'processingMode',
  'requestAttributes',
  'responseAttributes',
  'messageTimeout',
  'statPrefix',
  'mutationRules',
  'maxMessageTimeout',
  'forwardRules',
  'filterMetadata',
  'allowModeOverride',
  'disableImmediateResponse',
  'metadataOptions',
  'observabilityMode',
  'disableClearRouteCache',
  'routeCacheAction',
  'deferredCloseTimeout',
  'sendBodyWithoutWaitingForHeaderResponse',
  'allowedOverrideModes',
  'statusOnError',
  'allowContentLengthHeader',
]

export function readExtProc(
  path: string,
  config: ExternalProcessor,
  hcmPrefix: string,
  problems: Problems,
): ExtProcSettings {
  problems.unsupported(path, ExternalProcessorSchema, config, READ)
  const service = config.grpcService
  const modes = readModes(path, config.processingMode, undefined, problems)
  for (const direction of [modes.request, modes.response])
    if (direction.body === BodyMode.FULL_DUPLEX && !direction.trailers)
      problems.add(path, 'a body mode FULL_DUPLEX_STREAMED needs the trailer mode SEND')
  const forward = config.forwardRules
  const allowed = forward?.allowedHeaders?.patterns.map(stringPredicate)
  const disallowed = forward?.disallowedHeaders?.patterns.map(stringPredicate) ?? []
  return {
    statPrefix: `http.${hcmPrefix}.ext_proc.${config.statPrefix === '' ? '' : `${config.statPrefix}.`}`,
    ...readService(path, service, problems),
    failOpen: config.failureModeAllow,
    modes,
    filterModes: modes,
    nowait: config.sendBodyWithoutWaitingForHeaderResponse,
    allowModeOverride: config.allowModeOverride,
    allowedOverrideModes: config.allowedOverrideModes,
    requestAttributes: config.requestAttributes,
    responseAttributes: config.responseAttributes,
    messageTimeoutMs: milliseconds(config.messageTimeout, 200),
    maxMessageTimeoutMs: milliseconds(config.maxMessageTimeout, 0),
    rules: mutationRules(config.mutationRules),
    forwards: name => (allowed?.some(matches => matches(name)) ?? true) && !disallowed.some(matches => matches(name)),
    routeCache:
      config.disableClearRouteCache || config.routeCacheAction === RouteCacheAction.RETAIN
        ? 'retain'
        : config.routeCacheAction === RouteCacheAction.CLEAR
          ? 'clear'
          : 'default',
    disableImmediateResponse: config.disableImmediateResponse,
    forwardingNamespaces: config.metadataOptions?.forwardingNamespaces?.untyped ?? [],
    receivingNamespaces: new Set(config.metadataOptions?.receivingNamespaces?.untyped),
    observability: config.observabilityMode,
    deferredCloseMs: milliseconds(config.deferredCloseTimeout, 5000),
    statusOnError: config.statusOnError?.code ?? 500,
    allowContentLength: config.allowContentLengthHeader,
  }
}

function readService(
  path: string,
  service: GrpcService | undefined,
  problems: Problems,
): Pick<ExtProcSettings, 'cluster' | 'authority' | 'initialMetadata'> {
  const target = service?.targetSpecifier
  if (target?.case !== 'envoyGrpc') {
    problems.add(path, 'ext_proc needs grpc_service.envoy_grpc')
    return { cluster: '', authority: '', initialMetadata: new Map() }
  }
  const { clusterName, authority } = target.value
  const metadata = (service?.initialMetadata ?? []).map(header => [header.key.toLowerCase(), header.value] as const)
  return {
    cluster: clusterName,
    authority: authority === '' ? clusterName : authority,
    initialMetadata: new Map(metadata),
  }
}

/** `base` is left where the mode says DEFAULT; without one the defaults are headers SEND, trailers SKIP. */
export function readModes(
  path: string,
  mode: ProcessingMode | undefined,
  base: Modes | undefined,
  problems: Problems,
): Modes {
  const body = (value: number): BodyMode => {
    if (isServed(value)) return value
    problems.add(path, `body mode ${value === Body.BUFFERED_PARTIAL ? 'BUFFERED_PARTIAL' : value} is not served`)
    return BodyMode.NONE
  }
  return {
    request: {
      headers: sends(mode?.requestHeaderMode, base?.request.headers ?? true),
      body: body(mode?.requestBodyMode ?? Body.NONE),
      trailers: sends(mode?.requestTrailerMode, base?.request.trailers ?? false),
    },
    response: {
      headers: sends(mode?.responseHeaderMode, base?.response.headers ?? true),
      body: body(mode?.responseBodyMode ?? Body.NONE),
      trailers: sends(mode?.responseTrailerMode, base?.response.trailers ?? false),
    },
  }
}

export function isServed(mode: number): mode is BodyMode {
  return (Object.values(BodyMode) as number[]).includes(mode)
}

function sends(value: number | undefined, otherwise: boolean): boolean {
  return value === Send.SEND ? true : value === Send.SKIP ? false : otherwise
}

/** Per-route configuration, less specific first; undefined when the most specific disables the filter. */
function resolveExtProc(base: ExtProcSettings, perRoute: readonly ExtProcPerRoute[]): ExtProcSettings | undefined {
  let settings: ExtProcSettings | undefined = base
  for (const { override } of perRoute) {
    if (override.case === 'disabled') settings = override.value ? undefined : settings
    if (override.case !== 'overrides') continue
    const own = override.value
    const before: ExtProcSettings = settings ?? base
    const problems = new Problems()
    const service = own.grpcService === undefined ? before : readService('ExtProcPerRoute', own.grpcService, problems)
    const metadata = new Map(service.initialMetadata)
    for (const header of own.grpcInitialMetadata) metadata.set(header.key.toLowerCase(), header.value)
    settings = {
      ...before,
      cluster: service.cluster,
      authority: service.authority,
      initialMetadata: metadata,
      modes:
        own.processingMode === undefined
          ? before.modes
          : readModes('ExtProcPerRoute', own.processingMode, undefined, problems),
      failOpen: own.failureModeAllow ?? before.failOpen,
      forwardingNamespaces: own.metadataOptions?.forwardingNamespaces?.untyped ?? before.forwardingNamespaces,
      receivingNamespaces:
        own.metadataOptions?.receivingNamespaces === undefined
          ? before.receivingNamespaces
          : new Set(own.metadataOptions.receivingNamespaces.untyped),
    }
  }
  return settings
}

const resolved = new WeakMap<object, Map<ExtProcSettings, ExtProcSettings | undefined>>()

/** The settings for a route as first matched, kept per route; undefined when the filter is disabled on it. */
export function routeSettings(base: ExtProcSettings, route: SelectedRoute | undefined): ExtProcSettings | undefined {
  if (route === undefined) return base
  const key = route.target ?? route.entry
  const known = resolved.get(key) ?? new Map<ExtProcSettings, ExtProcSettings | undefined>()
  resolved.set(key, known)
  if (!known.has(base))
    known.set(base, resolveExtProc(base, [...route.entry.extProc, ...(route.target?.extProc ?? [])]))
  return known.get(base)
}
