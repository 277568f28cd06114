import { istioService } from '../../pipeline/named-pools.ts'
import { EXT_PROC_PORT, type Manifest } from './manifest.ts'
import type { ManifestValues, PoolValues } from './values.ts'

const POOL_GROUP = 'inference.networking.k8s.io'

/** The Service by which gateways ask for a pool. Each pool has one of its own: that tells them apart where one picker serves several. */
function pickerService({ name, pools }: ManifestValues, pool: PoolValues): string {
  return pools.length === 1 ? name : `${name}-${pool.name}`
}

export function pickerServices(values: ManifestValues): string[] {
  return values.pools.map(pool => pickerService(values, pool))
}

export function inferencePool(values: ManifestValues, pool: PoolValues): Manifest {
  const { namespace, targetPort, failureMode, h2c } = values
  return {
    apiVersion: `${POOL_GROUP}/v1`,
    kind: 'InferencePool',
    metadata: { name: pool.name, namespace },
    spec: {
      selector: { matchLabels: pool.labels },
      targetPorts: [{ number: targetPort }],
      ...(h2c ? { appProtocol: 'kubernetes.io/h2c' } : {}),
      endpointPickerRef: { name: pickerService(values, pool), port: { number: EXT_PROC_PORT }, failureMode },
    },
  }
}

/** A backendRef to the pool. */
export function poolRef({ name }: PoolValues) {
  return { group: POOL_GROUP, kind: 'InferencePool', name }
}

/** What gateways of one kind need to know of pool and picker besides. */
export function poolPolicies(values: ManifestValues): Manifest[] {
  const { flavour, pools, h2c } = values
  if (flavour === 'gke') return pools.flatMap(pool => gkePolicies(values, pool))
  if (flavour === 'agentgateway') return []
  return [...pickerRules(values), ...(h2c ? pools.map(pool => h2cRule(values, pool)) : [])]
}

/** Istio speaks TLS to a picker only where it is told to; what it verifies is up to you, since the certificate is self-signed. */
export function pickerRules(values: ManifestValues): Manifest[] {
  const { namespace } = values
  return pickerServices(values).map(service => ({
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { name: `${service}-tls`, namespace },
    spec: {
      host: `${service}.${namespace}.svc.cluster.local`,
      trafficPolicy: {
        portLevelSettings: [{ port: { number: EXT_PROC_PORT }, tls: { mode: 'SIMPLE', insecureSkipVerify: true } }],
      },
    },
  }))
}

/**
 * Istio asks one picker for all pools of a route, that of the last one. This has the gateway tell which pool's cluster was chosen: the
 * picker goes by that, where it serves the pool.
 */
export function clusterNames(namespace: string, gateway: string): Manifest {
  return {
    apiVersion: 'networking.istio.io/v1alpha3',
    kind: 'EnvoyFilter',
    metadata: { name: `${gateway}-cluster-names`, namespace },
    spec: {
      targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: gateway }],
      configPatches: [
        {
          applyTo: 'HTTP_FILTER',
          match: {
            context: 'GATEWAY',
            listener: {
              filterChain: {
                filter: {
                  name: 'envoy.filters.network.http_connection_manager',
                  subFilter: { name: 'envoy.filters.http.ext_proc' },
                },
              },
            },
          },
          patch: {
            operation: 'MERGE',
            value: {
              typed_config: {
                '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor',
                request_attributes: ['xds.cluster_name'],
              },
            },
          },
        },
      ],
    },
  }
}

/** Istio 1.29 makes no HTTP/2 cluster of a pool with appProtocol kubernetes.io/h2c; its Service has a name that it derives from the pool's. */
function h2cRule({ namespace }: ManifestValues, { name }: PoolValues): Manifest {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { name: `${name}-h2c`, namespace },
    spec: {
      host: `${istioService(name)}.${namespace}.svc.cluster.local`,
      trafficPolicy: { connectionPool: { http: { h2UpgradePolicy: 'UPGRADE' } } },
    },
  }
}

/** GKE's load balancers check model servers by themselves, and cut responses after 30 s unless told otherwise. */
function gkePolicies({ namespace, targetPort }: ManifestValues, pool: PoolValues): Manifest[] {
  const metadata = { name: pool.name, namespace }
  const targetRef = poolRef(pool)
  return [
    {
      apiVersion: 'networking.gke.io/v1',
      kind: 'HealthCheckPolicy',
      metadata,
      spec: {
        targetRef,
        default: { config: { type: 'HTTP', httpHealthCheck: { requestPath: '/health', port: targetPort } } },
      },
    },
    {
      apiVersion: 'networking.gke.io/v1',
      kind: 'GCPBackendPolicy',
      metadata,
      spec: { targetRef, default: { timeoutSec: 3600, logging: { enabled: true } } },
    },
  ]
}
