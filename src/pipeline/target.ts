import type { LinkedPool } from './linked-pool.ts'
import type { TargetPlan } from './plan.ts'
import type { PreparedAnswers } from './prepared-answers.ts'

/** A target of a rule, ready to be chosen. */
export interface Target {
  readonly plan: TargetPlan
  /** For the decision record. */
  readonly rule: string
  readonly pool: LinkedPool | undefined
  readonly answers: PreparedAnswers
}
