import { object } from '../../../config/kinds/common.ts'
import { scoreLeast } from '../scorers/min-max.ts'
import { scorerType } from './plugin-type.ts'

/** `(max − q) / (max − min)` of the waiting queues that the last scrapes saw; all equal: 1 (epp.md §3.3). */
export const queueScorer = scorerType('queue-scorer', object({}), () => ({
  type: 'queue-scorer',
  score({ count, waiting }, _table, out) {
    for (let i = 0; i < count; i++) out[i] = waiting[i]!
    scoreLeast(out, count)
  },
}))
