import type { JsonObject } from '@bufbuild/protobuf'
import { parseHostPort } from '../../src/compile/envoy/clusters.ts'

/** How a gateway reaches an ext_proc service. */
interface ExtProcPeer {
  /** `host:port`, or the path of a Unix socket. */
  readonly address: string
  /** Without `cert`: no client certificate. The server's isn't verified, as with InferencePools. */
  readonly tls?: { readonly cert?: string; readonly key?: string }
}

export interface GatewayListener {
  readonly name: string
  /** One of `peers`. */
  readonly peer: string
  /** Fields of `envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor`. */
  readonly filter: JsonObject
  /** Value of the subset hint that a filter in front sets. */
  readonly subset?: JsonObject[string]
  /** `tracing` of its HTTP connection manager. */
  readonly tracing?: JsonObject
}

export interface GatewayOptions {
  readonly peers: Readonly<Record<string, ExtProcPeer>>
  readonly listeners: readonly GatewayListener[]
  /** `host:port` of the pool's endpoints. */
  readonly pool: readonly string[]
  /** They speak HTTP/2 only, as gRPC servers do. Default: HTTP/1.1. */
  readonly poolIsHttp2?: boolean
  /** The gateway knows none of them, and goes where the picker's header says (ORIGINAL_DST), as llm-d's own Envoys do. */
  readonly originalDestination?: boolean
  /** Where requests go that have `x-gateway-model-name: special` when they are routed (again). */
  readonly special: string
  /** Access log, one JSON object a line. */
  readonly accessLog: string
  /** Further clusters that speak HTTP/2, by name. */
  readonly http2Clusters?: Readonly<Record<string, string>>
}

const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`
const DESTINATION = 'x-gateway-destination-endpoint'

const ORIGINAL_DESTINATION: JsonObject = {
  name: 'pool',
  type: 'ORIGINAL_DST',
  connectTimeout: '1s',
  lbPolicy: 'CLUSTER_PROVIDED',
  originalDstLbConfig: { useHttpHeader: true, httpHeaderName: DESTINATION },
}

/** Bootstrap of an Envoy that somebody else configured, in the shape that Istio gives to InferencePools. */
export function gatewayBootstrap(options: GatewayOptions): JsonObject {
  return {
    node: { id: 'gateway', cluster: 'gateway' },
    staticResources: {
      listeners: options.listeners.map(listener => listenerJson(listener, options)),
      clusters: [
        ...Object.entries(options.peers).map(([name, peer]) => peerCluster(name, peer)),
        options.originalDestination === true ? ORIGINAL_DESTINATION : pickedCluster(options),
        upstreamCluster('special', [options.special]),
        ...Object.entries(options.http2Clusters ?? {}).map(([name, address]) =>
          clusterJson(name, [address], { http2ProtocolOptions: {} }),
        ),
      ],
    },
  }
}

/** Takes the endpoints that the picker lists, in order. */
function pickedCluster(options: GatewayOptions): JsonObject {
  return {
    ...(options.poolIsHttp2 === true
      ? clusterJson('pool', options.pool, { http2ProtocolOptions: {} })
      : upstreamCluster('pool', options.pool)),
    loadBalancingPolicy: {
      policies: [
        {
          typedExtensionConfig: {
            name: 'envoy.load_balancing_policies.override_host',
            typedConfig: {
              '@type': type('load_balancing_policies.override_host.v3.OverrideHost'),
              overrideHostSources: [
                { metadata: { key: 'envoy.lb', path: [{ key: DESTINATION }] } },
                { header: DESTINATION },
              ],
              fallbackPolicy: {
                policies: [
                  {
                    typedExtensionConfig: {
                      name: 'envoy.load_balancing_policies.round_robin',
                      typedConfig: { '@type': type('load_balancing_policies.round_robin.v3.RoundRobin') },
                    },
                  },
                ],
              },
            },
          },
        },
      ],
    },
  }
}

function listenerJson(
  { name, peer, filter, subset, tracing }: GatewayListener,
  { accessLog }: GatewayOptions,
): JsonObject {
  const extProc = {
    '@type': type('filters.http.ext_proc.v3.ExternalProcessor'),
    grpcService: { envoyGrpc: { clusterName: peer } },
    messageTimeout: '5s',
    metadataOptions: {
      forwardingNamespaces: { untyped: ['envoy.lb', 'envoy.lb.subset_hint'] },
      receivingNamespaces: { untyped: ['envoy.lb'] },
    },
    ...filter,
  }
  const setMetadata = {
    '@type': type('filters.http.set_metadata.v3.Config'),
    metadata: [{ metadataNamespace: 'envoy.lb.subset_hint', value: { [`${DESTINATION}-subset`]: subset ?? null } }],
  }
  const manager = {
    '@type': type('filters.network.http_connection_manager.v3.HttpConnectionManager'),
    statPrefix: name,
    ...(tracing === undefined ? {} : { tracing }),
    httpProtocolOptions: { enableTrailers: true },
    accessLog: [
      {
        name: 'file',
        typedConfig: {
          '@type': type('access_loggers.file.v3.FileAccessLog'),
          path: accessLog,
          logFormat: {
            jsonFormat: {
              path: '%REQ(:PATH)%',
              status: '%RESPONSE_CODE%',
              details: '%RESPONSE_CODE_DETAILS%',
              metadata: `%DYNAMIC_METADATA(envoy.lb:${DESTINATION})%`,
              upstream: '%UPSTREAM_HOST%',
              cluster: '%UPSTREAM_CLUSTER%',
            },
          },
        },
      },
    ],
    routeConfig: {
      name: 'routes',
      virtualHosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [
            {
              match: {
                prefix: '/',
                headers: [{ name: 'x-gateway-model-name', stringMatch: { exact: 'special' } }],
              },
              route: { cluster: 'special', timeout: '0s' },
            },
            { match: { prefix: '/' }, route: { cluster: 'pool', timeout: '0s' } },
          ],
        },
      ],
    },
    httpFilters: [
      ...(subset === undefined ? [] : [{ name: 'subset', typedConfig: setMetadata }]),
      { name: 'endpoint-picker', typedConfig: extProc },
      { name: 'router', typedConfig: { '@type': type('filters.http.router.v3.Router') } },
    ],
  }
  return {
    name,
    address: { socketAddress: { address: '127.0.0.1', portValue: 0 } },
    filterChains: [{ filters: [{ name: 'http', typedConfig: manager }] }],
  }
}

function peerCluster(name: string, { address, tls }: ExtProcPeer): JsonObject {
  const certificates =
    tls?.cert === undefined
      ? []
      : [{ certificateChain: { inlineString: tls.cert }, privateKey: { inlineString: tls.key ?? '' } }]
  return {
    ...clusterJson(name, [address], { http2ProtocolOptions: {} }),
    ...(tls === undefined
      ? {}
      : {
          transportSocket: {
            name: 'tls',
            typedConfig: {
              '@type': type('transport_sockets.tls.v3.UpstreamTlsContext'),
              commonTlsContext: { alpnProtocols: ['h2'], tlsCertificates: certificates },
            },
          },
        }),
  }
}

function upstreamCluster(name: string, addresses: readonly string[]): JsonObject {
  return clusterJson(name, addresses, { httpProtocolOptions: { enableTrailers: true } })
}

function clusterJson(name: string, addresses: readonly string[], explicitHttpConfig: JsonObject): JsonObject {
  const lbEndpoints = addresses.map(address => ({ endpoint: { address: addressJson(address) } }))
  return {
    name,
    connectTimeout: '1s',
    loadAssignment: { clusterName: name, endpoints: [{ lbEndpoints }] },
    typedExtensionProtocolOptions: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': type('upstreams.http.v3.HttpProtocolOptions'),
        explicitHttpConfig,
      },
    },
  }
}

function addressJson(address: string): JsonObject {
  if (address.startsWith('/')) return { pipe: { path: address } }
  const { host, port } = parseHostPort(address)
  return { socketAddress: { address: host, portValue: port } }
}
