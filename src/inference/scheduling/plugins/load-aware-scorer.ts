import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { scorerType } from './plugin-type.ts'

const parameters = object({
  /** Length of the queue from which an endpoint scores 0. */
  threshold: z.int().min(1).default(128),
})

/** `0.5 · (1 − min(q, t) / t)` of the waiting queue (epp.md §3.3). */
export const loadAwareScorer = scorerType('load-aware-scorer', parameters, ({ threshold }) => ({
  type: 'load-aware-scorer',
  score({ count, waiting }, _table, out) {
    for (let i = 0; i < count; i++) out[i] = 0.5 * (1 - Math.min(waiting[i]!, threshold) / threshold)
  },
}))
