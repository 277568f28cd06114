import { z } from 'zod'
import { duration, object, port } from '../../../config/kinds/common.ts'
import { MAX_TIERS } from '../../kv-events/engine-blocks.ts'
import type { LabelRequirement } from '../../kv-events/kv-events-plan.ts'
import { type Deprecation, scorerType, type ScorerType, type SettingType } from './plugin-type.ts'

const ELSEWHERE = 'the index is in the memory of this process; every replica follows the events itself'
const TOKENS = 'tokens come from a token-producer with the backend "vllm"'

const tier = object({ name: z.string().min(1).toLowerCase(), weight: z.number().min(0).max(1) })
const DEFAULT_TIERS = [
  { name: 'gpu', weight: 1 },
  { name: 'cpu', weight: 0.8 },
]

const tokenProcessor = object({
  blockSizeTokens: z.int().min(0).max(16_384).optional(),
  /** The former name of `blockSizeTokens`, which wins. */
  blockSize: z.int().min(0).max(16_384).optional(),
  hashSeed: z.string().default(''),
  hashAlgorithm: z.enum(['cbor-fnv', 'xxh64']).optional(),
}).transform(({ blockSizeTokens, blockSize, ...rest }) => ({
  ...rest,
  // As there, 0 is not given.
  blockSizeTokens: blockSizeTokens || blockSize || 16,
}))

const memory = z
  .union([z.int().min(1024 * 1024), z.string()], 'must be bytes, or a text like 2GiB')
  .transform((given, context) => {
    const [, digits, unit] = /^(\d{1,15})\s?(B|[KMGT]i?B?)?$/.exec(String(given)) ?? []
    const bytes = Number(digits) * (UNITS[(unit ?? 'B').replace(/B$/, '')] ?? Number.NaN)
    if (bytes >= 1024 * 1024) return bytes
    context.issues.push({ code: 'custom', input: given, message: 'must be 1MiB or more, like 2GiB' })
    return z.NEVER
  })
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

const blockIndex = object(
  {
    inMemoryConfig: object({
      size: z.int().min(1).default(1e8),
      podCacheSize: z.int().min(1).optional(),
    }).nullish(),
    costAwareMemoryConfig: object({ size: memory.optional() }).nullish(),
    enableMetrics: z.boolean().optional(),
    metricsLoggingInterval: z.unknown().optional(),
  },
  { redisConfig: ELSEWHERE, valkeyConfig: ELSEWHERE },
)

const indexer = object(
  {
    kvBlockIndexConfig: blockIndex.prefault({}),
    kvCacheBackendConfigs: z
      .array(tier)
      .min(1)
      .max(MAX_TIERS)
      .refine(tiers => new Set(tiers.map(({ name }) => name)).size === tiers.length, 'a tier is named twice')
      .default(DEFAULT_TIERS),
  },
  { tokenizersPoolConfig: TOKENS, prefixStoreConfig: TOKENS, tokenProcessorConfig: 'stands beside indexerConfig' },
)

/** `key=value`, `key!=value`, `key` and `!key`, with commas in between. */
const selector = z.string().transform((text, context): LabelRequirement[] => {
  const requirements: LabelRequirement[] = []
  for (const part of text.split(',').filter(each => each.trim() !== '')) {
    const [, not, key, operator, value] = /^\s*(!?)([\w./-]+)\s*(?:(==?|!=)\s*([\w.-]*)\s*)?$/.exec(part) ?? []
    if (key === undefined || (not === '!' && operator !== undefined)) {
      const message = `"${part.trim()}" is no requirement on a label: say key=value, key!=value, key or !key`
      context.issues.push({ code: 'custom', input: text, message })
      return z.NEVER
    }
    const meaning =
      operator === undefined ? (not === '!' ? 'absent' : 'exists') : operator === '!=' ? 'differs' : 'equals'
    requirements.push({ key, operator: meaning, value: value ?? '' })
  }
  return requirements
})
/** What was read is read again by threads that link a plan. */
const requirements = z.array(
  z.object({ key: z.string(), operator: z.enum(['equals', 'differs', 'exists', 'absent']), value: z.string() }),
)

const events = object(
  {
    topicFilter: z.string().max(255).default('kv@'),
    concurrency: z.int().min(1).optional(),
    engineType: z.enum(['vllm', 'sglang']).optional(),
    discoverPods: z.literal(true, 'must be true: we connect to the endpoints of the pool').default(true),
    podDiscoveryConfig: object({
      podLabelSelector: z.union([selector, requirements]).default([]),
      podNamespace: z.string().optional(),
      socketPort: port.default(5557),
      replaySocketPort: z.int().max(65_535).default(0),
      dataParallelSize: z.int().optional(),
    }).prefault({}),
  },
  {
    zmqEndpoint: 'we connect to the endpoints of the pool; where they publish says podDiscoveryConfig',
    tracing: 'there are no spans of events',
  },
)

export const precisePrefixCacheParameters = object(
  {
    tokenProcessorConfig: tokenProcessor.prefault({}),
    indexerConfig: indexer.prefault({}),
    kvEventsConfig: events.prefault({}),
    speculativeIndexing: z.boolean().default(false),
    speculativeTTL: z
      .union([duration.refine(ms => ms > 0 && ms <= 600_000, 'must be up to 10m'), z.number()])
      .default(2000),
  },
  { sessionManager: 'sessions are not matched by observed blocks', tokenizersPoolConfig: TOKENS },
)

/** Follows the KV cache events of a pool's endpoints (epp.md §3.8); ../../kv-events has the work. */
export const precisePrefixCacheProducer: SettingType = {
  type: 'precise-prefix-cache-producer',
  role: 'producer',
  parameters: precisePrefixCacheParameters,
  deprecated: formerNames,
}

function formerNames({ tokenProcessorConfig }: Readonly<Record<string, unknown>>): readonly Deprecation[] {
  const given = Object(tokenProcessorConfig) as { readonly blockSize?: unknown }
  if (given.blockSize === undefined) return []
  return [{ parameter: 'tokenProcessorConfig.blockSize', message: 'is called blockSizeTokens now' }]
}

/** The producer and its scorer in one: share of the prompt's blocks, by the best tier that holds them. */
export const precisePrefixCacheScorer: ScorerType = {
  ...scorerType('precise-prefix-cache-scorer', precisePrefixCacheParameters, () => ({
    type: 'precise-prefix-cache-scorer',
    score(candidates, _table, out) {
      const { share } = candidates.matchOf('precise-prefix-cache-scorer')
      for (let i = 0; i < candidates.count; i++) out[i] = share[i]!
    },
  })),
  deprecated: given => [
    { message: 'say precise-prefix-cache-producer, and prefix-cache-scorer with its name' },
    ...formerNames(given),
  ],
}
