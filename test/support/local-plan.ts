import { ALONE } from '../../src/inference/endpoint-slots.ts'
import type { ReleaseBy } from '../../src/inference/endpoint-table.ts'
import type { PoolKeeper } from '../../src/inference/pool-keeper.ts'
import type { Decider } from '../../src/extproc/decider.ts'
import { LinkedPlan, type LinkedPlanOptions } from '../../src/pipeline/linked-plan.ts'
import { PlanKeeper } from '../../src/pipeline/plan-keeper.ts'
import type { Plan } from '../../src/pipeline/plan.ts'

export interface LocalPlanOptions extends Omit<LinkedPlanOptions, 'pool'> {
  readonly pool: { readonly releaseBy: ReleaseBy; readonly seed?: number }
}

/** Both sides of a plan, on one thread: what is kept and scraped, and what decides. */
export class LocalPlan {
  readonly keeper: PlanKeeper
  readonly linked: LinkedPlan

  constructor({ pool, ...options }: LocalPlanOptions) {
    this.keeper = new PlanKeeper({
      releaseBy: pool.releaseBy,
      threads: 2,
      onModels: keeper => this.linked.adoptModels(keeper.plan.name, keeper.models()),
    })
    this.linked = new LinkedPlan({ ...options, pool: { ...pool, thread: 1 } })
  }

  get pools(): ReadonlyMap<string, PoolKeeper> {
    return this.keeper.pools
  }

  entry(id: string | undefined): Decider | undefined {
    return this.linked.entry(id)
  }

  /** Nothing changes when it throws. */
  update(plan: Plan): void {
    this.keeper.update(plan, ALONE)
    this.linked.update(this.keeper.share()!)
  }
}
