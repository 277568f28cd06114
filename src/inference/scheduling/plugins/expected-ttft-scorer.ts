import { object } from '../../../config/kinds/common.ts'
import { expectedTtftScorer as create } from '../scorers/expected-ttft-scorer.ts'
import { scorerType } from './plugin-type.ts'

/** Our own, which llm-d does not have: for profiles with filters or a picker of llm-d's. */
export const expectedTtftScorer = scorerType('expected-ttft-scorer', object({}), create)
