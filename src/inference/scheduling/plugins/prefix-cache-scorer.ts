import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { BYTES_PER_TOKEN } from '../candidates.ts'
import { type ScorerType, scorerType } from './plugin-type.ts'
import { FORMER_PREFIX_CACHE, formerPrefixCacheShape } from './settings.ts'

const parameters = object({
  prefixMatchInfoProducerName: z.string().optional(),
  /** Share of the score that the absolute length of the match has. */
  matchLengthWeight: z.number().min(0).max(1).default(0),
  /** Tokens from which a match counts as long as any. */
  matchLengthScaleTokens: z.number().positive().default(8192),
  ...formerPrefixCacheShape,
})

const IN_CHARACTERS: ReadonlySet<string> = new Set(['hashBlockSize', 'blockSize'])

/** `w · min(1, matchedTokens / scale)² + (1 − w) · matched / total blocks` (epp.md §3.3). */
const scorer = scorerType('prefix-cache-scorer', parameters, given => {
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

export const prefixCacheScorer: ScorerType = {
  ...scorer,
  deprecated: given =>
    FORMER_PREFIX_CACHE.filter(name => given[name] !== undefined).map(name => {
      const now = IN_CHARACTERS.has(name) ? 'blockSizeTokens, a quarter of it,' : name
      return { parameter: name, message: `moved to approx-prefix-cache-producer: say ${now} there` }
    }),
}
