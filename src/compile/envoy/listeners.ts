import type { SignalboxParametersSpec } from '../../config/kinds/signalbox-parameters.ts'
import type { ListenerJson } from '../../gen/envoy/config/listener/v3/listener_pb.ts'
import type { FilterChainJson } from '../../gen/envoy/config/listener/v3/listener_components_pb.ts'
import { TlsInspectorSchema } from '../../gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts'
import { RouterSchema } from '../../gen/envoy/extensions/filters/http/router/v3/router_pb.ts'
import { HttpConnectionManagerSchema } from '../../gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { HeaderMutationSchema } from '../../gen/envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation_pb.ts'
import { DownstreamTlsContextSchema } from '../../gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import { SYSTEM_OWNED_HEADERS } from '../../inference/control-headers.ts'
import { accessLogsJson, type LogContents } from './access-log.ts'
import { extProcFilterJson } from './ext-proc.ts'
import { OVER_ADS, pack, seconds } from './json.ts'
import { LOCAL_REPLIES } from './local-replies.ts'

const OWN_PREFIXES = ['x-signalbox-', 'x-gateway-destination-endpoint']
/** The ext_proc service reads it and removes it, where decisions are told (../../pipeline/decision-records.ts). */
const EXPLAIN = 'x-signalbox-explain'
const ENVOY_PREFIXES = ['x-envoy-retry-', 'x-envoy-max-retries', 'x-envoy-hedge-']
/**
 * Headers with these prefixes are never taken from clients; nor are the model headers. Those of Envoy's own are obeyed from private
 * addresses: retries that we don't know of would let an early closed look send bytes twice (`Decider.retryBufferBytes`).
 */
export const CLIENT_HEADER_PREFIXES: readonly string[] = [...OWN_PREFIXES, ...ENVOY_PREFIXES]

/** One HTTP server of a port: all of it (HTTP), or what comes for one server name (HTTPS). */
interface ChainSpec {
  /** Also the name of its route configuration. */
  readonly name: string
  readonly tls?: { readonly serverName?: string; readonly secrets: readonly string[] }
}

export interface ListenerSpec {
  readonly name: string
  readonly address: string
  readonly port: number
  readonly chains: readonly ChainSpec[]
}

/** Bytes depend on the spec and the parameters only, so that changed routes never drain a listener. */
export function listenerJson(spec: ListenerSpec, parameters: SignalboxParametersSpec, logs: LogContents): ListenerJson {
  const tls = spec.chains.some(chain => chain.tls !== undefined)
  return {
    name: spec.name,
    address: { socketAddress: { address: spec.address, portValue: spec.port } },
    ...(tls
      ? {
          listenerFilters: [
            { name: 'envoy.filters.listener.tls_inspector', typedConfig: pack(TlsInspectorSchema, {}) },
          ],
        }
      : {}),
    filterChains: spec.chains.map(chain => chainJson(chain, parameters, logs)),
  }
}

function chainJson(chain: ChainSpec, parameters: SignalboxParametersSpec, logs: LogContents): FilterChainJson {
  const filters = [
    {
      name: 'envoy.filters.network.http_connection_manager',
      typedConfig: connectionManagerJson(chain.name, parameters, logs),
    },
  ]
  if (chain.tls === undefined) return { name: chain.name, filters }
  const { serverName, secrets } = chain.tls
  return {
    name: chain.name,
    ...(serverName === undefined ? {} : { filterChainMatch: { serverNames: [serverName] } }),
    filters,
    transportSocket: {
      name: 'envoy.transport_sockets.tls',
      typedConfig: pack(DownstreamTlsContextSchema, {
        commonTlsContext: {
          alpnProtocols: ['h2', 'http/1.1'],
          tlsParams: { tlsMinimumProtocolVersion: 'TLSv1_2' },
          tlsCertificateSdsSecretConfigs: secrets.map(name => ({ name, sdsConfig: OVER_ADS })),
        },
      }),
    },
  }
}

/**
 * Headers that choose routes, endpoints or are ours: whatever a client sends under these names is dropped before a route is
 * looked at. Removing them later (`request_headers_to_remove`) would also remove what we set.
 *
 * With underscores, too: to CGI and WSGI servers `x_gateway_model_name` is the same as `x-gateway-model-name`. All other names
 * with underscores pass (Envoy's default): they are legal, and some clients need them.
 */
function clientHeaderRemovals(parameters: SignalboxParametersSpec, { decisions }: LogContents) {
  const { modelHeader, baseModelHeader } = parameters.routing
  // Envoy allows a program of 100 instructions for an expression: not all names in one.
  const ours = [modelHeader, baseModelHeader]
    .map(eitherDash)
    .concat(
      OWN_PREFIXES.flatMap(prefix =>
        decisions && EXPLAIN.startsWith(prefix) ? allBut(EXPLAIN, prefix) : [`${eitherDash(prefix)}.*`],
      ),
    )
  return pack(HeaderMutationSchema, {
    mutations: [
      ...ours.map(regex => ({ removeOnMatch: { keyMatcher: { safeRegex: { regex } } } })),
      ...ENVOY_PREFIXES.map(prefix => ({ removeOnMatch: { keyMatcher: { prefix } } })),
      // Read by sidecars that know them by this spelling only.
      ...SYSTEM_OWNED_HEADERS.map(remove => ({ remove })),
    ],
  })
}

/**
 * Patterns of all names that begin with `prefix`, in either spelling, but `name`. RE2 knows no "but", so there is one for each character of
 * the rest that may be another or missing; all small, as Envoy wants them.
 */
function allBut(name: string, prefix: string): string[] {
  const either = eitherDash(prefix)
  const rest = name.slice(prefix.length)
  const beside = (character: string, by: number) => String.fromCharCode(character.charCodeAt(0) + by)
  return [
    ...Array.from(
      rest,
      (character, i) => `${either}${rest.slice(0, i)}([!-${beside(character, -1)}${beside(character, 1)}-~].*)?`,
    ),
    `${either}${rest}.+`,
    // The same with underscores.
    ...Array.from(prefix.matchAll(/-/g), ({ index }) => {
      return `${eitherDash(prefix.slice(0, index))}_${eitherDash(prefix.slice(index + 1))}${rest}`
    }),
  ]
}

/** The pattern of a header name in which dash and underscore are one. */
function eitherDash(name: string): string {
  return name.replaceAll(/[.*+^$|]/g, String.raw`\$&`).replaceAll(/[-_]/g, '[-_]')
}

function connectionManagerJson(name: string, parameters: SignalboxParametersSpec, logs: LogContents) {
  return pack(HttpConnectionManagerSchema, {
    statPrefix: name,
    codecType: 'AUTO',
    rds: { configSource: OVER_ADS, routeConfigName: name },
    // HTTP/2 always passes trailers on.
    httpProtocolOptions: { enableTrailers: true },
    streamIdleTimeout: seconds(parameters.timeouts.idle),
    requestHeadersTimeout: '30s',
    // An edge: the address of the connection is the client's, and clients' x-envoy-* headers are not believed.
    useRemoteAddress: true,
    serverHeaderTransformation: 'PASS_THROUGH',
    generateRequestId: true,
    alwaysSetRequestIdInResponse: true,
    // Routes see one spelling of a path, and the upstream sees the same: none passes a route by.
    normalizePath: true,
    mergeSlashes: true,
    pathWithEscapedSlashesAction: 'UNESCAPE_AND_FORWARD',
    stripTrailingHostDot: true,
    earlyHeaderMutationExtensions: [
      { name: 'envoy.http.early_header_mutation.header_mutation', typedConfig: clientHeaderRemovals(parameters, logs) },
    ],
    localReplyConfig: LOCAL_REPLIES,
    accessLog: accessLogsJson(parameters.accessLog, logs),
    httpFilters: [
      extProcFilterJson(parameters),
      { name: 'envoy.filters.http.router', typedConfig: pack(RouterSchema, {}) },
    ],
  })
}
