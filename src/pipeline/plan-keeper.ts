import type { EndpointSlotsOptions, PlanVersion } from '../inference/endpoint-slots.ts'
import { checkPoolPlan, PoolKeeper, type PoolKeeperOptions } from '../inference/pool-keeper.ts'
import { KEPT_GENERATIONS } from './linked-plan.ts'
import type { PlanShare } from './plan-share.ts'
import type { Plan } from './plan.ts'
import { linkRule } from './rules.ts'

export interface PlanKeeperOptions extends EndpointSlotsOptions {
  /** See `PoolKeeperOptions`. */
  readonly onModels?: PoolKeeperOptions['onModels']
}

/** The plan on the main thread: accepts or refuses it, keeps its pools, and says what other threads need to run it. */
export class PlanKeeper {
  readonly pools = new Map<string, PoolKeeper>()
  readonly #options: PlanKeeperOptions
  #plan: Plan | undefined
  /** Plans whose entries are still answered, the oldest first, without the newest. */
  #earlier: readonly Plan[] = []

  constructor(options: PlanKeeperOptions) {
    this.#options = options
  }

  /** Takes over a plan; pools that stay keep their memory. Nothing changes when it throws. @throws Error for a plan that does not fit together */
  update(plan: Plan, version: PlanVersion): void {
    check(plan)
    const pools = plan.pools.map(poolPlan => {
      const pool = this.pools.get(poolPlan.name)
      if (pool === undefined) return new PoolKeeper(poolPlan, this.#options, version)
      if (pool.plan !== poolPlan) pool.update(poolPlan, version)
      return pool
    })
    this.pools.clear()
    for (const pool of pools) this.pools.set(pool.plan.name, pool)
    const before = this.#plan
    const known = new Set(before?.entries.map(({ id }) => id))
    if (before !== undefined && plan.entries.some(({ id }) => !known.has(id)))
      this.#earlier = [...this.#earlier, before].slice(1 - KEPT_GENERATIONS)
    this.#plan = plan
  }

  /** What a thread needs that ran the plan before, or none yet. Undefined before the first plan. */
  share(): PlanShare | undefined {
    return this.#plan === undefined ? undefined : this.#shareOf(this.#plan)
  }

  /** What a thread must run before the newest plan to know the entries of earlier ones. */
  earlierShares(): readonly PlanShare[] {
    return this.#earlier.map(plan => this.#shareOf(plan))
  }

  /** A thread has died: its counts are put in order, before a successor counts in its place. */
  threadDied(thread: number): void {
    for (const pool of this.pools.values()) pool.threadDied(thread)
  }

  /** A thread does not answer, for now: the others do not wait for it. */
  threadHangs(thread: number): void {
    for (const pool of this.pools.values()) pool.threadHangs(thread)
  }

  #shareOf({ pools, ...plan }: Plan): PlanShare {
    const { releaseBy, threads } = this.#options
    const gone = (name: string) => {
      const poolPlan = pools.find(pool => pool.name === name)!
      const version = { version: 0, adopted: 0 }
      return new PoolKeeper({ ...poolPlan, endpoints: [] }, { releaseBy, threads }, version)
    }
    return { plan, pools: pools.map(({ name }) => (this.pools.get(name) ?? gone(name)).share()) }
  }
}

/** Whatever linking a plan could trip over. */
function check({ entries, pools }: Plan): void {
  for (const pool of pools) void checkPoolPlan(pool)
  const names = new Set(pools.map(({ name }) => name))
  for (const { name, rules } of entries) {
    for (const rule of rules) {
      linkRule(rule, plan => {
        if (plan.pool !== undefined && !names.has(plan.pool)) throw new Error(`entry ${name}: no pool ${plan.pool}`)
        return { plan }
      })
    }
  }
}
