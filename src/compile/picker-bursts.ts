import type { ProfilePlan, SchedulingPlan } from '../inference/pool-plan.ts'
import { burstPrefixCacheParameters } from '../inference/scheduling/plugins/burst-prefix-cache-producer.ts'
import { BYTES_PER_TOKEN, LEAST_BLOCK_TOKENS } from './block-tokens.ts'
import type { PickerPlugins } from './picker-plugins.ts'

export const BURST_PRODUCER = 'burst-prefix-cache-producer'

/** Unless the parameters say otherwise. */
const MAX_BLOCKS = 2048
/** Requests that wait on a thread, whatever the parameters say. */
const MAX_HELD = 4096

/** What an EndpointPickerConfig says of bursts. `scheduling`: its profiles, and the blocks of prompts. */
export function readBursts(
  plugins: PickerPlugins,
  scheduling: Partial<SchedulingPlan>,
): Pick<SchedulingPlan, 'bursts'> {
  const plugin = plugins.all().find(({ type }) => type.type === BURST_PRODUCER)
  if (plugin === undefined) return {}
  const { name, index } = plugin
  const at = ['plugins', index]
  if (!plugins.all().some(({ parameters }) => parameters['prefixMatchInfoProducerName'] === name)) {
    plugins.warn('unused', at, `no plug-in has prefixMatchInfoProducerName: ${name}; no request waits`)
    return {}
  }
  const given = burstPrefixCacheParameters.parse(plugin.parameters)
  const { blockSizeTokens, maxPrefixTokensToMatch, maxPerReplica, maxBatchSize } = given
  const blockTokens = Math.max(LEAST_BLOCK_TOKENS, blockSizeTokens)
  const poolTokens = (scheduling.prefixBlockBytes ?? blockTokens * BYTES_PER_TOKEN) / BYTES_PER_TOKEN
  if (blockTokens % poolTokens !== 0) {
    const message = `must be a multiple of ${poolTokens}, the block of approx-prefix-cache-producer`
    plugins.error('not-supported', [...at, 'parameters', 'blockSizeTokens'], message)
    return {}
  }
  if (maxBatchSize > MAX_HELD)
    plugins.warn('limited', [...at, 'parameters', 'maxBatchSize'], `${MAX_HELD} requests wait on a thread at most`)
  return {
    bursts: {
      producer: name,
      windowMs: given.windowDurationMs,
      maxPerReplica: Math.max(0, maxPerReplica),
      stride: blockTokens / poolTokens,
      maxBlocks:
        maxPrefixTokensToMatch === 0 ? MAX_BLOCKS : Math.max(1, Math.floor(maxPrefixTokensToMatch / blockTokens)),
      minColocateBlocks: Math.ceil((given.minColocateBlocks * blockSizeTokens) / blockTokens),
      maxHeld: maxBatchSize < 0 ? MAX_HELD : Math.min(maxBatchSize, MAX_HELD),
      balanceBy: given.balanceBy === 'tokens' ? 'tokens' : 'requests',
      profile: profileOf(name, scheduling),
    },
  }
}

/** Number of the first profile whose plug-ins ask the producer; 0 where only others do. */
function profileOf(producer: string, scheduling: Partial<SchedulingPlan>): number {
  const asks = ({ scorers = [], filters = [] }: Partial<ProfilePlan>) =>
    [...scorers, ...filters].some(({ parameters }) => parameters?.['prefixMatchInfoProducerName'] === producer)
  return Math.max(0, [scheduling, ...(scheduling.profiles ?? [])].findIndex(asks))
}
