import { Pool, type PoolOptions } from '../inference/pool.ts'
import { Profile } from '../inference/scheduling/profile.ts'
import type { Call } from './call.ts'
import { type DeciderContext, EntryDecider } from './entry-decider.ts'
import type { LinkedPool } from './linked-pool.ts'
import type { Plan } from './plan.ts'

/** Earlier generations of plans whose entries are still answered. */
const KEPT_GENERATIONS = 16

export interface LinkedPlanOptions extends Pick<DeciderContext, 'outcomes' | 'nowMs' | 'random'> {
  readonly pool: PoolOptions
}

/**
 * The plan that a thread runs: entries by id, pools by name. `update` links a new plan; pools that stay keep their tables, and
 * entries of earlier plans stay known, because an Envoy asks by the entry of the configuration that it has.
 */
export class LinkedPlan {
  readonly pools = new Map<string, Pool>()
  readonly #options: LinkedPlanOptions
  readonly #calls: Call[] = []
  /** By entry id; the generation in which it was last part of the plan. */
  readonly #entries = new Map<string, { decider: EntryDecider; generation: number }>()
  #generation = 0
  #default: EntryDecider | undefined

  constructor(options: LinkedPlanOptions) {
    this.#options = options
  }

  /** The decider of an entry id; without one, that of streams which name no entry. */
  entry(id: string | undefined): EntryDecider | undefined {
    return id === undefined ? this.#default : this.#entries.get(id)?.decider
  }

  /** Takes over a plan. Nothing changes when it throws. @throws Error for a plan that does not fit together */
  update(plan: Plan): void {
    const linked = new Map<string, LinkedPool>()
    for (const poolPlan of plan.pools) {
      const pool = this.pools.get(poolPlan.name)
      // `Pool.update` throws for scorers only: they are tried before anything changes.
      if (pool !== undefined) void new Profile(poolPlan.scheduling.scorers)
      linked.set(poolPlan.name, { pool: pool ?? new Pool(poolPlan, this.#options.pool), plan: poolPlan })
    }
    const { outcomes, nowMs, random } = this.#options
    const { routing } = plan
    const baseModels = new Map(Object.entries(routing.baseModels))
    const context: DeciderContext = { outcomes, nowMs, random, routing, baseModels, calls: this.#calls }
    const deciders = plan.entries.map(entry => new EntryDecider(entry, linked, context))
    for (const { pool, plan } of linked.values()) if (pool.plan !== plan) pool.update(plan)
    // Entries of earlier plans keep the pools that they were linked to; a pool that has gone has no endpoints any more.
    for (const [name, pool] of this.pools) {
      if (!linked.has(name)) pool.update({ ...pool.plan, endpoints: [] })
    }
    this.pools.clear()
    for (const [name, { pool }] of linked) this.pools.set(name, pool)
    // A change of endpoints alone is no generation.
    if (deciders.some(decider => !this.#entries.has(decider.plan.id))) this.#generation++
    for (const decider of deciders) this.#entries.set(decider.plan.id, { decider, generation: this.#generation })
    for (const [id, { generation }] of this.#entries) {
      if (generation <= this.#generation - KEPT_GENERATIONS) this.#entries.delete(id)
    }
    this.#default = deciders.find(decider => decider.plan.id === plan.defaultEntry)
  }
}
