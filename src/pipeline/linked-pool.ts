import type { PoolPlan } from '../inference/pool-plan.ts'
import type { Pool } from '../inference/pool.ts'
import type { RequestHook } from '../inference/scheduling/request-hook.ts'
import type { ResponseUsage } from './response-usage.ts'

/**
 * A pool as an entry was linked to it. What an entry promised the exchange (that it rewrites, say) must hold until its requests are
 * decided, so that an entry goes by `plan`; `pool.plan` may be a newer one. Endpoints are always the pool's newest.
 */
export interface LinkedPool {
  readonly pool: Pool
  readonly plan: PoolPlan
  readonly usage: ResponseUsage
  /** Users' own. */
  readonly hooks: readonly Required<RequestHook>[]
}
