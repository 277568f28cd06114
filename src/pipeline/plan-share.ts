/** What the main thread gives the threads that decide. Plain data: shared memory goes by reference. */
import type { PoolShare } from '../inference/pool-share.ts'
import type { Plan } from './plan.ts'

export interface PlanShare {
  readonly plan: Omit<Plan, 'pools'>
  readonly pools: readonly PoolShare[]
}
