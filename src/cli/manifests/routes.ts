import type { Manifest } from './manifest.ts'
import { poolRef } from './pool.ts'
import type { ManifestValues, PoolValues } from './values.ts'

/** The header in which a plug tells the model. */
const MODEL_HEADER = 'x-gateway-model-name'

const NO_TIMEOUT = { request: '0s' }

/** All requests of the gateway to the first pool: its picker reads the model. */
export function poolRoute(values: ManifestValues): Manifest {
  return route(values, [{ ...everything(), backendRefs: [poolRef(values.pools[0]!)], timeouts: NO_TIMEOUT }])
}

/** Models to the backends of their pools by the header, all else to that of the first. */
export function modelRoutes(values: ManifestValues, backendRef: (pool: PoolValues) => object): Manifest {
  const rules = values.models.map(({ model, pool }) => ({
    matches: [
      {
        path: { type: 'PathPrefix', value: '/' },
        headers: [{ type: 'Exact', name: MODEL_HEADER, value: model }],
      },
    ],
    backendRefs: [backendRef(pool)],
    timeouts: NO_TIMEOUT,
  }))
  return route(values, [
    ...rules,
    { ...everything(), backendRefs: [backendRef(values.pools[0]!)], timeouts: NO_TIMEOUT },
  ])
}

function everything() {
  return { matches: [{ path: { type: 'PathPrefix', value: '/' } }] }
}

function route(values: ManifestValues, rules: readonly object[]): Manifest {
  const { name, namespace, gateway, gatewayNamespace } = values
  const parent = gatewayNamespace === namespace ? { name: gateway } : { namespace: gatewayNamespace, name: gateway }
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name, namespace },
    spec: { parentRefs: [parent], rules },
  }
}
