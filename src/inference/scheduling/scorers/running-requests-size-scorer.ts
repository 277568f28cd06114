import type { Scorer } from '../scorer.ts'
import { scoreLeast } from './min-max.ts'

/** Fewest requests in the batch is best. Decisions that no scrape has seen count as running. */
export function runningRequestsSizeScorer(): Scorer {
  return {
    type: 'running-requests-size-scorer',
    score({ count, running, unseen }, _table, out) {
      for (let i = 0; i < count; i++) out[i] = running[i]! + unseen[i]!
      scoreLeast(out, count)
    },
  }
}
