import type { Call } from './call.ts'
import type { DecisionRecords } from './decision-records.ts'
import type { Observers } from './observers.ts'
import type { Outcomes } from './outcomes.ts'
import type { RoutingPlan } from './plan.ts'

/** What a thread's deciders share. */
export interface DeciderContext {
  readonly routing: Pick<RoutingPlan, 'modelHeader' | 'baseModelHeader'>
  /** `RoutingPlan.baseModels`: a map, because models are named by clients, who know `constructor` and `__proto__`. */
  readonly baseModels: ReadonlyMap<string, string>
  readonly outcomes: Outcomes
  /** Wall clock, ms: the clock of scrapes. */
  readonly nowMs: () => number
  /** [0, 1) */
  readonly random: () => number
  /** Absent: nobody wants decision records. */
  readonly records: DecisionRecords | undefined
  /** Absent: nobody wants metrics by model and tenant, or traces. */
  readonly observers: Observers | undefined
  /** Call records that are free. */
  readonly calls: Call[]
}
