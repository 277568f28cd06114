/** The plan that our servers run in benchmarks: three model rules and a pool with llm-d's complete default profile. */
import type { PoolPlan } from '../../src/inference/pool-plan.ts'
import type { EntryPlan, Plan } from '../../src/pipeline/plan.ts'

/** Facts of a request, by when they are final (design.md, "When is a fact final?"). */
const FIRST = { model: 'first', prefixBytes: 0 } as const
const BOUNDED = { model: 'first', prefixBytes: 32 * 1024 } as const
const WHOLE = { model: 'whole', prefixBytes: 32 * 1024 } as const

/** An InferencePool's gateway, both directions FULL_DUPLEX_STREAMED. */
const DUPLEX = { followResponse: true, body: 'full-duplex' } as const
/** A route of our own fleet without retries, but with the endpoint in the header too, as extprocload expects it. */
const LOOK = { followResponse: false, body: 'look' } as const

export const ENTRIES = {
  fds: { ...DUPLEX, ...BOUNDED },
  'fds.first': { ...DUPLEX, ...FIRST },
  'fds.whole': { ...DUPLEX, ...WHOLE },
  /** The usage of responses is read, and reported. */
  'fds.usage': { ...DUPLEX, ...BOUNDED },
  /** Full duplex without the response side. */
  'request-only': { ...DUPLEX, followResponse: false, ...BOUNDED },
  look: { ...LOOK, ...BOUNDED },
  'look.first': { ...LOOK, ...FIRST },
  'look.whole': { ...LOOK, ...WHOLE },
} as const

export type EntryName = keyof typeof ENTRIES

/** What an empty EndpointPickerConfig asks for (epp.md §2.1), with the approximate prefix cache's own defaults. */
export const LLM_D_DEFAULT: PoolPlan['scheduling']['scorers'] = [
  { type: 'queue-scorer', weight: 2, parameters: {} },
  { type: 'kv-cache-utilization-scorer', weight: 2, parameters: {} },
  { type: 'prefix-cache-scorer', weight: 3, parameters: {} },
]

export const POOL = 'bench/pool'
/** The same endpoints for those who want to know what responses have used. */
const USAGE_POOL = 'bench/usage'

/** Id of an entry in the plan. */
export function entryId(name: EntryName): string {
  return `${name}@bench`
}

/** All entries; the default one, for streams that name none, is `name`. */
export function benchPlan(name: EntryName, addresses: readonly string[]): Plan {
  const usage = poolPlan(USAGE_POOL, addresses)
  const report = { namespace: 'envoy.lb', name: 'cost', expression: 'usage.completion_tokens' }
  const entries = (Object.keys(ENTRIES) as EntryName[]).map(entryPlan)
  return {
    version: 'bench',
    routing: {
      modelHeader: 'x-gateway-model-name',
      baseModelHeader: 'x-gateway-base-model-name',
      baseModels: { m: 'm-base' },
    },
    entries,
    pools: [poolPlan(POOL, addresses), { ...usage, scheduling: { ...usage.scheduling, usageReports: [report] } }],
    defaultEntry: entryId(name),
  }
}

function entryPlan(name: EntryName): EntryPlan {
  return {
    id: entryId(name),
    name,
    attach: 'gateway',
    ...ENTRIES[name],
    maxBodyBytes: 32 * 1024 * 1024,
    retryBufferBytes: 0,
    // Unknown, as for other people's gateways: the load generators take a request for more time for an error.
    messageTimeoutMs: 0,
    uploadTimeoutMs: 60_000,
    uploadIdleMs: 30_000,
    // The rule that matches is neither the first nor the only one, as in a real route table.
    rules: ['other', 'another', 'm'].map(model => ({
      name: `bench/route[${model}]`,
      path: { type: 'prefix', value: '/v1' },
      headers: [],
      query: [],
      model: { name: 'model', type: 'exact', value: model },
      targets: [{ id: `target-${model}`, weight: 1, cluster: 'pool', pool: name === 'fds.usage' ? USAGE_POOL : POOL }],
    })),
    listModels: true,
  }
}

function poolPlan(name: string, addresses: readonly string[]): PoolPlan {
  return {
    name,
    cluster: 'pool',
    endpoints: addresses.map(address => ({ address, labels: {} })),
    failOpen: false,
    rejectUnknownModels: false,
    rewrites: [],
    scheduling: {
      scorers: LLM_D_DEFAULT,
      maxEndpoints: 1,
      maxQueue: 0,
      prefixBlockBytes: 256,
      prefixBlocksPerEndpoint: 31_250,
    },
    scrape: { path: '/metrics', intervalMs: 50, timeoutMs: 1000, staleMs: 1000, modelsIntervalMs: 60_000 },
  }
}
