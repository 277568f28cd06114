/** Bootstraps of the Envoys that Signalbox does not configure. */
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import { parseHostPort } from '../../../src/compile/envoy/clusters.ts'

const type = (name: string) => `type.googleapis.com/envoy.${name}`
const POOL = 'pool'
const MANY = 100_000
const BREAKERS: JsonObject = {
  thresholds: [{ maxConnections: MANY, maxPendingRequests: MANY, maxRequests: MANY, maxRetries: MANY }],
}

export type LbPolicy = 'RANDOM' | 'ROUND_ROBIN' | 'LEAST_REQUEST'

/** Balances by itself over the endpoints that stand in a file of `writeEndpoints`. */
export function plainBootstrap(port: number, policy: LbPolicy, folder: string): JsonObject {
  return bootstrap(
    port,
    [],
    [
      {
        name: POOL,
        type: 'EDS',
        connectTimeout: '1s',
        lbPolicy: policy,
        circuitBreakers: BREAKERS,
        edsClusterConfig: {
          edsConfig: {
            resourceApiVersion: 'V3',
            pathConfigSource: { path: endpointsFile(folder), watchedDirectory: { path: folder } },
          },
        },
      },
    ],
  )
}

/** Asks llm-d's endpoint picker, attached as its own documentation does without Kubernetes: full duplex, and the header decides. */
export function pickedBootstrap(port: number, picker: string): JsonObject {
  const filter = {
    name: 'envoy.filters.http.ext_proc',
    typedConfig: {
      '@type': type('extensions.filters.http.ext_proc.v3.ExternalProcessor'),
      grpcService: { envoyGrpc: { clusterName: 'picker' }, timeout: '10s' },
      processingMode: {
        requestHeaderMode: 'SEND',
        responseHeaderMode: 'SEND',
        requestBodyMode: 'FULL_DUPLEX_STREAMED',
        responseBodyMode: 'FULL_DUPLEX_STREAMED',
        requestTrailerMode: 'SEND',
        responseTrailerMode: 'SEND',
      },
      messageTimeout: '600s',
    },
  }
  return bootstrap(
    port,
    [filter],
    [
      {
        name: 'picker',
        type: 'STATIC',
        connectTimeout: '5s',
        circuitBreakers: BREAKERS,
        typedExtensionProtocolOptions: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
            explicitHttpConfig: { http2ProtocolOptions: {} },
          },
        },
        loadAssignment: assignment('picker', [picker]),
      },
      {
        name: POOL,
        type: 'ORIGINAL_DST',
        connectTimeout: '1s',
        lbPolicy: 'CLUSTER_PROVIDED',
        circuitBreakers: BREAKERS,
        originalDstLbConfig: { useHttpHeader: true, httpHeaderName: 'x-gateway-destination-endpoint' },
      },
    ],
  )
}

/** Replaces the file by renaming, which is what Envoy watches for. */
export async function writeEndpoints(folder: string, addresses: readonly string[]): Promise<void> {
  const response = {
    versionInfo: String(addresses.length),
    resources: [{ '@type': type('config.endpoint.v3.ClusterLoadAssignment'), ...assignment(POOL, addresses) }],
  }
  await writeFile(`${endpointsFile(folder)}.new`, JSON.stringify(response))
  await rename(`${endpointsFile(folder)}.new`, endpointsFile(folder))
}

function endpointsFile(folder: string): string {
  return join(folder, 'envoy-endpoints.json')
}

function bootstrap(port: number, filters: readonly JsonObject[], clusters: readonly JsonObject[]): JsonObject {
  const manager = {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    statPrefix: 'contest',
    routeConfig: {
      virtualHosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: POOL, timeout: '0s' } }] },
      ],
    },
    httpFilters: [
      ...filters,
      { name: 'router', typedConfig: { '@type': type('extensions.filters.http.router.v3.Router') } },
    ],
  }
  return {
    node: { id: 'contest', cluster: 'contest' },
    staticResources: {
      listeners: [
        {
          name: 'contest',
          address: { socketAddress: { address: '127.0.0.1', portValue: port } },
          filterChains: [{ filters: [{ name: 'http', typedConfig: manager }] }],
        },
      ],
      clusters: [...clusters],
    },
  }
}

function assignment(clusterName: string, addresses: readonly string[]): JsonObject {
  const lbEndpoints = addresses.map(each => {
    const { host, port } = parseHostPort(each)
    return { endpoint: { address: { socketAddress: { address: host, portValue: port } } } }
  })
  return { clusterName, endpoints: [{ lbEndpoints }] }
}
