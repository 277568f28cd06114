import type { InferencePool } from '../config/kinds/inference-pool.ts'
import type { SignalboxParametersSpec } from '../config/kinds/signalbox-parameters.ts'
import { keyOf } from '../config/object.ts'
import type { EntryPlan, GatewayPoolPlan } from '../pipeline/plan.ts'
import type { Backends } from './backends.ts'
import { defaultEntry } from './default-entry.ts'
import type { ObjectIndex } from './object-index.ts'

/** Which InferencePools gateways that we don't configure reach through us. */
export type GatewayPools =
  /** These, as `namespace/name`. */
  | { readonly names: readonly string[] }
  /** Those whose endpointPickerRef is this Service, as `namespace/name`. */
  | { readonly service: string }
  /** All of a namespace; undefined: of all namespaces. */
  | { readonly namespace: string | undefined }

/** Where a pool without `endpointPickerRef.port` expects its picker. */
const DEFAULT_PORT = 9002

export function isServed(pool: InferencePool, pools: GatewayPools): boolean {
  const { namespace } = pool.metadata
  if ('names' in pools) return pools.names.includes(keyOf(pool))
  if ('service' in pools) return `${namespace}/${pool.spec.endpointPickerRef?.name}` === pools.service
  return pools.namespace === undefined || pools.namespace === namespace
}

/** The entries of the pools that are there: a pool may be made later, and may go. */
export function compileGatewayPools(
  pools: GatewayPools,
  objects: ObjectIndex,
  backends: Backends,
  parameters: SignalboxParametersSpec,
  ignoreSubset: boolean,
): { readonly entries: readonly EntryPlan[]; readonly gatewayPools: readonly GatewayPoolPlan[] } {
  const entries: EntryPlan[] = []
  const gatewayPools: GatewayPoolPlan[] = []
  for (const pool of objects.all('InferencePool')) {
    if (!isServed(pool, pools)) continue
    const entry = defaultEntry(keyOf(pool), backends, parameters, { ignoreSubset, listModels: false })
    if (entry === undefined || entry === 'unknown-pool') continue
    entries.push(entry)
    const { namespace } = pool.metadata
    const ref = pool.spec.endpointPickerRef
    gatewayPools.push({
      entry: entry.id,
      pool: keyOf(pool),
      ...(ref === undefined ? {} : { service: `${ref.name}.${namespace}`, port: ref.port?.number ?? DEFAULT_PORT }),
    })
  }
  return { entries, gatewayPools }
}
