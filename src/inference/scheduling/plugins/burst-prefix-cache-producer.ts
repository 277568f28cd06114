import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { SettingType } from './plugin-type.ts'

/** A number, or −1 for any. */
const limit = z.int().refine(value => value === -1 || value >= 1, 'must be -1 (any number) or at least 1')

export const burstPrefixCacheParameters = object({
  windowDurationMs: z.int().min(1).max(10_000).default(100),
  maxPerReplica: limit.default(-1),
  blockSizeTokens: z.int().min(1).max(16_384).default(64),
  /** 0: the first 2,048 blocks. */
  maxPrefixTokensToMatch: z
    .int()
    .min(0)
    .max(1024 * 1024)
    .default(0),
  minColocateBlocks: z.int().min(0).max(16_384).default(0),
  maxBatchSize: limit.default(1000),
  balanceBy: z.enum(['requests', 'tokens', ''], 'must be requests or tokens').default('requests'),
}).refine(({ maxPrefixTokensToMatch: tokens, blockSizeTokens }) => tokens === 0 || tokens >= blockSizeTokens, {
  path: ['maxPrefixTokensToMatch'],
  error: 'must be 0 or at least blockSizeTokens',
})

/** Places requests that come together and have the same prompt together (../../bursts/burst-window.ts). */
export const burstPrefixCacheProducer: SettingType = {
  type: 'burst-prefix-cache-producer',
  role: 'producer',
  parameters: burstPrefixCacheParameters,
}
