/** The smallest configuration around a processor and some backends. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { EnvoyResources } from '../../src/config/envoy-resources.ts'

export interface PlaneOptions {
  /** Fields of the ext_proc filter; absent: no filter. */
  readonly extProc?: JsonObject
  readonly extProcPort?: number
  /** Overrides of the routes. */
  readonly perRoute?: JsonObject
  readonly backends: Readonly<Record<string, readonly number[]>>
  /** Merged into each cluster. */
  readonly cluster?: JsonObject
  readonly routes?: readonly JsonObject[]
  readonly manager?: JsonObject
  /** Write an access log, JSON lines. */
  readonly accessLog?: boolean
  /** Leave the processor's cluster without endpoints. */
  readonly noProcessor?: boolean
  readonly gracefulGrpcClose?: boolean
}

const TYPE = 'type.googleapis.com/envoy.extensions'
const HTTP2 = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
    explicitHttpConfig: { http2ProtocolOptions: {} },
  },
}
const HTTP1 = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
    explicitHttpConfig: { httpProtocolOptions: { enableTrailers: true } },
  },
}

function assignment(clusterName: string, ports: readonly number[]): JsonObject {
  const lbEndpoints = ports.map(portValue => ({
    endpoint: { address: { socketAddress: { address: '127.0.0.1', portValue } } },
  }))
  return { clusterName, endpoints: [{ lbEndpoints }] }
}

export const OVERRIDE_HOST: JsonObject = {
  loadBalancingPolicy: {
    policies: [
      {
        typedExtensionConfig: {
          name: 'override',
          typedConfig: {
            '@type': `${TYPE}.load_balancing_policies.override_host.v3.OverrideHost`,
            overrideHostSources: [{ metadata: { key: 'envoy.lb', path: [{ key: 'x-gateway-destination-endpoint' }] } }],
            selectedHostKey: { key: 'envoy.lb', path: [{ key: 'served' }] },
            fallbackPolicy: {
              policies: [
                {
                  typedExtensionConfig: {
                    name: 'none',
                    typedConfig: {
                      '@type': `${TYPE}.load_balancing_policies.subset.v3.Subset`,
                      fallbackPolicy: 'NO_FALLBACK',
                      subsetSelectors: [{ keys: ['never'], fallbackPolicy: 'NO_FALLBACK' }],
                      subsetLbPolicy: {
                        policies: [
                          {
                            typedExtensionConfig: {
                              name: 'any',
                              typedConfig: { '@type': `${TYPE}.load_balancing_policies.round_robin.v3.RoundRobin` },
                            },
                          },
                        ],
                      },
                    },
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

/** Listener `l` on a free port; clusters by the names of `backends`; route `x-gateway-model-name: m2` → `u2`, everything else → `u1`. */
export function planeResources(options: PlaneOptions): EnvoyResources {
  const filters: JsonObject[] = []
  if (options.extProc !== undefined)
    filters.push({
      name: 'signalbox.ext_proc',
      typedConfig: {
        '@type': `${TYPE}.filters.http.ext_proc.v3.ExternalProcessor`,
        grpcService: { envoyGrpc: { clusterName: 'processor' } },
        messageTimeout: '5s',
        ...options.extProc,
      },
    })
  filters.push({ name: 'router', typedConfig: { '@type': `${TYPE}.filters.http.router.v3.Router` } })
  const perRoute =
    options.perRoute === undefined
      ? {}
      : {
          typedPerFilterConfig: {
            'signalbox.ext_proc': {
              '@type': `${TYPE}.filters.http.ext_proc.v3.ExtProcPerRoute`,
              overrides: options.perRoute,
            },
          },
        }
  const routes = options.routes ?? [
    {
      match: { prefix: '/', headers: [{ name: 'x-gateway-model-name', stringMatch: { exact: 'm2' } }] },
      route: { cluster: 'u2' },
      ...perRoute,
    },
    { match: { prefix: '/' }, route: { cluster: 'u1' }, ...perRoute },
  ]
  return {
    listeners: [
      {
        name: 'l',
        address: { socketAddress: { address: '127.0.0.1', portValue: 0 } },
        filterChains: [
          {
            filters: [
              {
                name: 'hcm',
                typedConfig: {
                  '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
                  statPrefix: 'test',
                  rds: { routeConfigName: 'r', configSource: { ads: {} } },
                  httpProtocolOptions: { enableTrailers: true },
                  accessLog:
                    options.accessLog !== true
                      ? []
                      : [
                          {
                            name: 'stdout',
                            typedConfig: {
                              '@type': `${TYPE}.access_loggers.stream.v3.StdoutAccessLog`,
                              logFormat: {
                                jsonFormat: {
                                  status: '%RESPONSE_CODE%',
                                  details: '%RESPONSE_CODE_DETAILS%',
                                  model: '%DYNAMIC_METADATA(signalbox:model)%',
                                  path: '%PATH(NQ:ORIG_OR_PATH)%',
                                  upstream: '%UPSTREAM_HOST%',
                                  attempts: '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
                                },
                                omitEmptyValues: true,
                              },
                            },
                          },
                        ],
                  httpFilters: filters,
                  ...options.manager,
                },
              },
            ],
          },
        ],
      },
    ],
    routes: [{ name: 'r', virtualHosts: [{ name: 'all', domains: ['*'], routes: [...routes] }] }],
    clusters: [
      ...Object.keys(options.backends).map(
        (name): JsonObject => ({
          name,
          type: 'EDS',
          edsClusterConfig: { edsConfig: { ads: {} } },
          connectTimeout: '2s',
          typedExtensionProtocolOptions: HTTP1,
          ...options.cluster,
        }),
      ),
      {
        name: 'processor',
        type: 'STATIC',
        connectTimeout: '2s',
        loadAssignment: assignment(
          'processor',
          options.extProcPort === undefined || options.noProcessor === true ? [] : [options.extProcPort],
        ),
        typedExtensionProtocolOptions: HTTP2,
      },
    ],
    endpoints: Object.entries(options.backends).map(([name, ports]) => assignment(name, ports)),
    secrets: [],
    others: [],
  }
}
