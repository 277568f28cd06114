import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { SettingType } from './plugin-type.ts'

const DEFAULT_BLOCK_TOKENS = 16
const blockTokens = z.int().min(1).max(16_384)
/** Wins over `maxPrefixBlocksToMatch`; 0, or neither: up to the limit of the configuration. */
const maxTokens = z
  .int()
  .min(0)
  .max(1024 * 1024)
const maxBlocks = z
  .int()
  .min(0)
  .max(16 * 1024)
const capacity = z.int().min(16).max(16_777_216)

export const approxPrefixCacheParameters = object({
  /** Capacity by what each endpoint's metrics tell of its blocks; `lruCapacityPerServer` where they don't. */
  autoTune: z.boolean().default(true),
  blockSizeTokens: blockTokens.default(DEFAULT_BLOCK_TOKENS),
  /** The former name of `blockSizeTokens`, which wins unless it is the default. 0 = not given. */
  blockSize: z.int().min(0).max(16_384).optional(),
  maxPrefixTokensToMatch: maxTokens.optional(),
  maxPrefixBlocksToMatch: maxBlocks.optional(),
  lruCapacityPerServer: capacity.default(31_250),
}).transform(({ blockSize = 0, ...given }) =>
  blockSize === 0 || given.blockSizeTokens !== DEFAULT_BLOCK_TOKENS ? given : { ...given, blockSizeTokens: blockSize },
)

/** What `prefix-cache-scorer` had before there was a producer; the first two are in characters. */
export const formerPrefixCacheShape = {
  hashBlockSize: z.int().min(0).max(65_536).optional(),
  blockSize: z.int().min(0).max(65_536).optional(),
  blockSizeTokens: blockTokens.optional(),
  autoTune: z.boolean().optional(),
  maxPrefixTokensToMatch: maxTokens.optional(),
  maxPrefixBlocksToMatch: maxBlocks.optional(),
  lruCapacityPerServer: capacity.optional(),
}
export const FORMER_PREFIX_CACHE = Object.keys(formerPrefixCacheShape) as (keyof typeof formerPrefixCacheShape)[]

export type ApproxPrefixCache = z.output<typeof approxPrefixCacheParameters>

/** Every pool has one prefix index; this sets its sizes (epp.md §3.6). */
export const approxPrefixCacheProducer: SettingType = {
  type: 'approx-prefix-cache-producer',
  role: 'producer',
  parameters: approxPrefixCacheParameters,
  deprecated: ({ blockSize }) =>
    blockSize === undefined ? [] : [{ parameter: 'blockSize', message: 'is called blockSizeTokens now' }],
}
