import type { InferencePool } from '../config/kinds/inference-pool.ts'
import type { SignalboxParametersSpec } from '../config/kinds/signalbox-parameters.ts'
import { keyOf } from '../config/object.ts'
import type { EntryPlan, PlugPlan, RulePlan } from '../pipeline/plan.ts'
import type { Backends } from './backends.ts'
import { entryId, prefixBytesOf } from './entries.ts'

/** A model and the pool that serves it, `namespace/name`; the model `*` stands for all that no other says. */
export interface ModelPool {
  readonly model: string
  readonly pool: string
}

const ANY_MODEL = '*'

/**
 * The entries of an ext_proc filter of ours that stands first in a gateway which we don't configure otherwise: `route` tells the model in
 * a header, so that the gateway's routes can match it; `pick` tells the endpoint too, so that no endpoint picker is asked after it.
 */
export function compilePlugs(
  modelPools: readonly ModelPool[],
  pools: readonly InferencePool[],
  backends: Backends,
  parameters: SignalboxParametersSpec,
): { readonly entries: readonly EntryPlan[]; readonly plugs: PlugPlan } {
  const route = entryOf('plug/route', parameters, 0, [
    { name: 'plug', headers: [], query: [], targets: [{ id: 'plug', weight: 1, cluster: '' }] },
  ])
  const known = new Set(pools.map(keyOf))
  const rules: RulePlan[] = []
  let prefixBytes = 0
  for (const { model, pool } of modelPools.toSorted(
    (a, b) => Number(a.model === ANY_MODEL) - Number(b.model === ANY_MODEL),
  )) {
    const plan = known.has(pool) ? backends.pool(pool) : undefined
    // A pool may be made later; until then its models are not found.
    if (plan === undefined) continue
    prefixBytes = Math.max(prefixBytes, prefixBytesOf(plan, parameters))
    rules.push({
      name: `model ${model}`,
      headers: [],
      query: [],
      ...(model === ANY_MODEL ? {} : { model: { name: 'model', type: 'exact', value: model } }),
      targets: [{ id: pool, weight: 1, cluster: plan.cluster, pool }],
    })
  }
  const pick = rules.length === 0 ? undefined : entryOf('plug/pick', parameters, prefixBytes, rules)
  return {
    entries: pick === undefined ? [route] : [route, pick],
    plugs: { route: route.id, ...(pick === undefined ? {} : { pick: pick.id }) },
  }
}

function entryOf(
  name: string,
  parameters: SignalboxParametersSpec,
  prefixBytes: number,
  rules: readonly RulePlan[],
): EntryPlan {
  const content: Omit<EntryPlan, 'id'> = {
    name,
    attach: 'gateway',
    // Only who picks counts what is in flight.
    followResponse: name === 'plug/pick',
    body: 'look',
    model: 'whole',
    prefixBytes,
    maxBodyBytes: parameters.limits.maxRequestBodyBytes,
    // The gateway's routes may retry: the end of the body is waited for.
    retryBufferBytes: Number.MAX_SAFE_INTEGER,
    messageTimeoutMs: 0,
    uploadTimeoutMs: parameters.timeouts.upload,
    uploadIdleMs: parameters.timeouts.uploadIdle,
    rules,
    listModels: false,
  }
  return { id: entryId(content), ...content }
}
