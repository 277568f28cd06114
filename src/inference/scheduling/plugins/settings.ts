import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { SettingType } from './plugin-type.ts'

export const approxPrefixCacheParameters = object(
  {
    /** Both values come to the same: engines' blocks are smaller than the least block of 64 tokens. */
    autoTune: z.boolean().default(true),
    blockSizeTokens: z.int().min(1).max(16_384).default(16),
    maxPrefixTokensToMatch: z
      .int()
      .min(1)
      .max(1024 * 1024)
      .optional(),
    lruCapacityPerServer: z.int().min(16).max(16_777_216).default(31_250),
  },
  {
    maxPrefixBlocksToMatch: 'not supported yet; say maxPrefixTokensToMatch',
    blockSize: 'deprecated; say blockSizeTokens',
  },
)

/** Every pool has one prefix index; this sets its sizes (epp.md §3.6). */
export const approxPrefixCacheProducer: SettingType = {
  type: 'approx-prefix-cache-producer',
  role: 'producer',
  parameters: approxPrefixCacheParameters,
}

/** Every pool counts its own requests in flight; tokens are not counted yet. */
export const inflightLoadProducer: SettingType = {
  type: 'inflight-load-producer',
  role: 'producer',
  parameters: object(
    {},
    {
      addEstimatedOutputTokens: 'tokens in flight are not counted yet',
      outputRatio: 'tokens in flight are not counted yet',
      maxEstimatedOutputTokens: 'tokens in flight are not counted yet',
    },
  ),
}
