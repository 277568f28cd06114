import { object } from '../../../config/kinds/common.ts'
import { kvCacheUtilizationScorer as create } from '../scorers/kv-cache-utilization-scorer.ts'
import { scorerType } from './plugin-type.ts'

/** The same as our own. */
export const kvCacheUtilizationScorer = scorerType('kv-cache-utilization-scorer', object({}), create)
