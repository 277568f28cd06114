import type { JsonObject } from '@bufbuild/protobuf'
import { EXT_PROC_CLUSTER } from '../../compile/names.ts'
import type { EnvoyResources } from '../../config/envoy-resources.ts'

/**
 * The resources with the endpoints of the ext_proc cluster that serve now. `serving`: which of them, in their order (one per thread).
 * When none serves, all are left in: nothing is gained by telling data planes that there is nobody.
 */
export function withLiveThreads(envoy: EnvoyResources, serving: readonly boolean[]): EnvoyResources {
  if (serving.every(Boolean) || !serving.some(Boolean)) return envoy
  const endpoints = envoy.endpoints.map(assignment => {
    if (assignment['clusterName'] !== EXT_PROC_CLUSTER) return assignment
    const [locality] = assignment['endpoints'] as unknown as readonly { readonly lbEndpoints: readonly JsonObject[] }[]
    return { ...assignment, endpoints: [{ lbEndpoints: locality!.lbEndpoints.filter((_, i) => serving[i]) }] }
  })
  return { ...envoy, endpoints }
}
