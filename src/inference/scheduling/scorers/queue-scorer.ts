import type { Scorer } from '../scorer.ts'
import { scoreLeast } from './min-max.ts'

/** Fewest requests waiting is best. Decisions that no scrape has seen count as waiting, so that a burst spreads. */
export function queueScorer(): Scorer {
  return {
    type: 'queue-scorer',
    score({ count, waiting, unseen }, _table, out) {
      for (let i = 0; i < count; i++) out[i] = waiting[i]! + unseen[i]!
      scoreLeast(out, count)
    },
  }
}
