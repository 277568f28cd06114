import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { BYTES_PER_TOKEN } from '../candidates.ts'
import { scorerType } from './plugin-type.ts'

const parameters = object({
  prefixMatchInfoProducerName: z.string().optional(),
  /** Share of the score that the absolute length of the match has. */
  matchLengthWeight: z.number().min(0).max(1).default(0),
  /** Tokens from which a match counts as long as any. */
  matchLengthScaleTokens: z.number().positive().default(8192),
})

/** `w · min(1, matchedTokens / scale)² + (1 − w) · matched / total blocks` (epp.md §3.3). */
export const prefixCacheScorer = scorerType('prefix-cache-scorer', parameters, given => {
  const { matchLengthWeight: weight, matchLengthScaleTokens: scale } = given
  return {
    type: 'prefix-cache-scorer',
    score(candidates, _table, out) {
      const { share, bytes } = candidates.matchOf(given.prefixMatchInfoProducerName)
      for (let i = 0; i < candidates.count; i++) {
        const long = Math.min(1, (share[i]! * bytes) / BYTES_PER_TOKEN / scale)
        out[i] = weight * long * long + (1 - weight) * share[i]!
      }
    },
  }
})
