import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { Random } from '../random.ts'
import { filterType } from './plugin-type.ts'
import { SloHeadroom } from './slo-headroom.ts'

const parameters = object({
  /** Chance of keeping those that will miss an aim where others will not, so that they are not forgotten. */
  epsilonExploreNeg: z.number().min(0).max(1).default(0.01),
  latencyPredictionInfoProducerName: z.string().optional(),
})

/** Keeps endpoints that are predicted to reach both aims of the request, where there are any. Without predictions: all (epp.md §3.2). */
export const sloHeadroomTierFilter = filterType(
  'slo-headroom-tier-filter',
  parameters,
  ({ epsilonExploreNeg }) => {
    const random = new Random(Math.random() * 0x7fffffff)
    const headroom = new SloHeadroom()
    return {
      type: 'slo-headroom-tier-filter',
      filter(candidates, _table, kept) {
        const { count } = candidates
        headroom.begin(candidates)
        let reaching = 0
        for (let i = 0; i < count; i++) {
          // NaN, no prediction, is not known to reach anything.
          const reaches = headroom.ofTtft(candidates, i) >= 0 && headroom.ofTpot(candidates, i) >= 0
          kept[i] = reaches ? 1 : 0
          reaching += kept[i]!
        }
        if (reaching === 0) kept.fill(1, 0, count)
        if (reaching === 0 || reaching === count || epsilonExploreNeg === 0) return
        if (random.unit() > epsilonExploreNeg) return
        for (let i = 0; i < count; i++) kept[i] = 1 - kept[i]!
      },
    }
  },
  () => ['latency'],
)
