import { object } from '../../../config/kinds/common.ts'
import { loraAffinityScorer as create } from '../scorers/lora-affinity-scorer.ts'
import { scorerType } from './plugin-type.ts'

/** The same as our own. */
export const loraAffinityScorer = scorerType('lora-affinity-scorer', object({}), create)
