import { object } from '../../../config/kinds/common.ts'
import { scoreLeast } from '../scorers/min-max.ts'
import { scorerType } from './plugin-type.ts'

/** `(max − r) / (max − min)` of the running requests that the last scrapes saw; all equal: 1 (epp.md §3.3). */
export const runningRequestsSizeScorer = scorerType('running-requests-size-scorer', object({}), () => ({
  type: 'running-requests-size-scorer',
  score({ count, running }, _table, out) {
    for (let i = 0; i < count; i++) out[i] = running[i]!
    scoreLeast(out, count)
  },
}))
