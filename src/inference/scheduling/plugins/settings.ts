import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { SettingType } from './plugin-type.ts'

export const approxPrefixCacheParameters = object(
  {
    /** Both values come to the same: engines' blocks are smaller than the least block of 64 tokens. */
    autoTune: z.boolean().default(true),
    blockSizeTokens: z.int().min(1).max(16_384).default(16),
    /** Wins over `maxPrefixBlocksToMatch`; 0, or neither: up to the limit of the configuration. */
    maxPrefixTokensToMatch: z
      .int()
      .min(0)
      .max(1024 * 1024)
      .optional(),
    maxPrefixBlocksToMatch: z
      .int()
      .min(0)
      .max(16 * 1024)
      .optional(),
    lruCapacityPerServer: z.int().min(16).max(16_777_216).default(31_250),
  },
  {
    blockSize: 'deprecated; say blockSizeTokens',
  },
)

export type ApproxPrefixCache = z.output<typeof approxPrefixCacheParameters>

/** Every pool has one prefix index; this sets its sizes (epp.md §3.6). */
export const approxPrefixCacheProducer: SettingType = {
  type: 'approx-prefix-cache-producer',
  role: 'producer',
  parameters: approxPrefixCacheParameters,
}
