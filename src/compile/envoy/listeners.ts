import type { SignalboxParametersSpec } from '../../config/kinds/signalbox-parameters.ts'
import type { ListenerJson } from '../../gen/envoy/config/listener/v3/listener_pb.ts'
import type { FilterChainJson } from '../../gen/envoy/config/listener/v3/listener_components_pb.ts'
import { TlsInspectorSchema } from '../../gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts'
import { RouterSchema } from '../../gen/envoy/extensions/filters/http/router/v3/router_pb.ts'
import { HttpConnectionManagerSchema } from '../../gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { HeaderMutationSchema } from '../../gen/envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation_pb.ts'
import { DownstreamTlsContextSchema } from '../../gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import { SYSTEM_OWNED_HEADERS } from '../../inference/control-headers.ts'
import { accessLogsJson } from './access-log.ts'
import { extProcFilterJson } from './ext-proc.ts'
import { OVER_ADS, pack, seconds } from './json.ts'
import { LOCAL_REPLIES } from './local-replies.ts'

const OWN_PREFIXES = ['x-signalbox-', 'x-gateway-destination-endpoint']
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
export function listenerJson(spec: ListenerSpec, parameters: SignalboxParametersSpec, als: boolean): ListenerJson {
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
    filterChains: spec.chains.map(chain => chainJson(chain, parameters, als)),
  }
}

function chainJson(chain: ChainSpec, parameters: SignalboxParametersSpec, als: boolean): FilterChainJson {
  const filters = [
    {
      name: 'envoy.filters.network.http_connection_manager',
      typedConfig: connectionManagerJson(chain.name, parameters, als),
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
function clientHeaderRemovals(parameters: SignalboxParametersSpec) {
  const { modelHeader, baseModelHeader } = parameters.routing
  // Envoy allows a program of 100 instructions for an expression: not all names in one.
  const ours = [modelHeader, baseModelHeader]
    .map(eitherDash)
    .concat(OWN_PREFIXES.map(prefix => `${eitherDash(prefix)}.*`))
  return pack(HeaderMutationSchema, {
    mutations: [
      ...ours.map(regex => ({ removeOnMatch: { keyMatcher: { safeRegex: { regex } } } })),
      ...ENVOY_PREFIXES.map(prefix => ({ removeOnMatch: { keyMatcher: { prefix } } })),
      // Read by sidecars that know them by this spelling only.
      ...SYSTEM_OWNED_HEADERS.map(remove => ({ remove })),
    ],
  })
}

/** The pattern of a header name in which dash and underscore are one. */
function eitherDash(name: string): string {
  return name.replaceAll(/[.*+^$|]/g, String.raw`\$&`).replaceAll(/[-_]/g, '[-_]')
}

function connectionManagerJson(name: string, parameters: SignalboxParametersSpec, als: boolean) {
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
      { name: 'envoy.http.early_header_mutation.header_mutation', typedConfig: clientHeaderRemovals(parameters) },
    ],
    localReplyConfig: LOCAL_REPLIES,
    accessLog: accessLogsJson(parameters.accessLog, als),
    httpFilters: [
      extProcFilterJson(parameters),
      { name: 'envoy.filters.http.router', typedConfig: pack(RouterSchema, {}) },
    ],
  })
}
