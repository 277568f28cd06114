import type { SignalboxParametersSpec } from '../config/kinds/signalbox-parameters.ts'
import { promptNeeds } from '../inference/scheduling/profiles.ts'
import type { EntryPlan } from '../pipeline/plan.ts'
import type { Backends } from './backends.ts'
import { entryId, prefixBytesOf } from './entries.ts'

/**
 * The entry of gateways that we don't configure: everything goes to one pool. The body mode is the one that Istio and the other
 * gateways use for endpoint pickers; what the gateway really says on the stream goes first.
 */
export function defaultEntry(
  pool: string | undefined,
  backends: Backends,
  parameters: SignalboxParametersSpec,
  options: { readonly ignoreSubset?: boolean; readonly listModels?: boolean } = {},
): EntryPlan | undefined | 'unknown-pool' {
  if (pool === undefined) return undefined
  const plan = backends.pool(pool)
  if (plan === undefined) return 'unknown-pool'
  const needs = promptNeeds(plan.scheduling)
  const content: Omit<EntryPlan, 'id'> = {
    name: `default/${pool}`,
    attach: 'gateway',
    followResponse: true,
    body: 'full-duplex',
    model: plan.rewrites.length > 0 ? 'whole' : 'first',
    prefixBytes: prefixBytesOf(plan, parameters),
    ...(needs.media ? { media: true as const } : {}),
    ...(needs.mediaHashes === true ? { mediaHashes: true as const } : {}),
    ...(needs.mediaTokens === undefined ? {} : { mediaTokens: needs.mediaTokens }),
    ...(needs.outputCap === true ? { outputCap: true as const } : {}),
    maxBodyBytes: parameters.limits.maxRequestBodyBytes,
    // Whether its routes retry is unknown.
    retryBufferBytes: Number.MAX_SAFE_INTEGER,
    // Its filter's timeouts are unknown.
    messageTimeoutMs: 0,
    uploadTimeoutMs: parameters.timeouts.upload,
    uploadIdleMs: parameters.timeouts.uploadIdle,
    rules: [
      { name: `pool ${pool}`, headers: [], query: [], targets: [{ id: pool, weight: 1, cluster: plan.cluster, pool }] },
    ],
    listModels: options.listModels ?? true,
    ...(options.ignoreSubset === true ? { ignoreSubset: true } : {}),
  }
  return { id: entryId(content), ...content }
}
