import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { Candidates } from '../candidates.ts'
import { Random } from '../random.ts'
import { filterType } from './plugin-type.ts'

const parameters = object({
  /** Share of the prompt from which an endpoint holds it; 0 = the filter does nothing. */
  affinityThreshold: z.number().min(0).max(1).default(0.8),
  /** Chance of keeping all. */
  explorationProbability: z.number().min(0).max(1).default(0),
  /** How much longer the first token may take at those who hold it than elsewhere, ms; 0 = any time. */
  maxTTFTPenaltyMs: z.number().min(0).default(18_000),
  ttftSource: z.enum(['prefillThroughput', 'latencyPredictor']).default('prefillThroughput'),
  /** Tokens a second. */
  peakPrefillThroughput: z.number().positive().default(15_928),
  prefixMatchInfoProducerName: z.string().optional(),
  latencyPredictionInfoProducerName: z.string().optional(),
  inFlightLoadProducerName: z.string().optional(),
})

/**
 * Keeps endpoints that hold the prompt, unless the best of them would take too much longer than the best other one, by tokens in flight ÷
 * prefill throughput or by prediction; all, where none holds it or the pick explores (epp.md §3.2).
 */
export const prefixCacheAffinityFilter = filterType(
  'prefix-cache-affinity-filter',
  parameters,
  given => {
    const random = new Random(Math.random() * 0x7fffffff)
    const predicted = given.ttftSource === 'latencyPredictor'
    const { affinityThreshold, explorationProbability, maxTTFTPenaltyMs, peakPrefillThroughput } = given

    function timeOf({ ttft, tokens }: Candidates, i: number): number {
      if (!predicted) return (tokens[i]! / peakPrefillThroughput) * 1000
      return Number.isNaN(ttft[i]!) ? Number.MAX_VALUE : ttft[i]!
    }

    return {
      type: 'prefix-cache-affinity-filter',
      filter(candidates, _table, kept) {
        const { count } = candidates
        const { share } = candidates.matchOf(given.prefixMatchInfoProducerName)
        kept.fill(1, 0, count)
        if (affinityThreshold === 0) return
        if (explorationProbability > 0 && random.unit() <= explorationProbability) return
        let holders = 0
        let best = Number.POSITIVE_INFINITY
        let bestOther = Number.POSITIVE_INFINITY
        for (let i = 0; i < count; i++) {
          const time = timeOf(candidates, i)
          if (share[i]! >= affinityThreshold) {
            holders++
            if (time < best) best = time
          } else if (time < bestOther) {
            bestOther = time
          }
        }
        if (holders === 0 || holders === count) return
        if (maxTTFTPenaltyMs > 0 && best - bestOther > maxTTFTPenaltyMs) return
        for (let i = 0; i < count; i++) kept[i] = share[i]! >= affinityThreshold ? 1 : 0
      },
    }
  },
  ({ maxTTFTPenaltyMs, ttftSource }) => {
    if (maxTTFTPenaltyMs === 0) return ['prefix']
    return ttftSource === 'latencyPredictor' ? ['prefix', 'latency'] : ['prefix', 'in-flight-tokens']
  },
)
