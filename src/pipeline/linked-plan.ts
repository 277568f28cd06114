import type { Decider } from '../extproc/decider.ts'
import type { StreamHeaders } from '../grpc/transport.ts'
import { FlowOutcome } from '../inference/flow-control/flow-outcome.ts'
import type { PoolModels } from '../inference/pool-share.ts'
import { Pool, type PoolOptions } from '../inference/pool.ts'
import type { Call } from './call.ts'
import type { DeciderContext } from './decider-context.ts'
import type { DecisionRecords } from './decision-records.ts'
import { EntryDecider } from './entry-decider.ts'
import { GatewayStreams } from './gateway-streams.ts'
import type { LinkedPool } from './linked-pool.ts'
import type { Observers } from './observers.ts'
import { PLUG_METADATA, type PlugPlan } from './plan.ts'
import type { PlanShare } from './plan-share.ts'
import { LinkedHooks } from './request-hooks.ts'
import { modelsOf } from './rewrite.ts'
import { ResponseUsage, type UsageSink } from './response-usage.ts'

/** Earlier generations of plans whose entries are still answered. */
export const KEPT_GENERATIONS = 16

export interface LinkedPlanOptions extends Pick<DeciderContext, 'outcomes' | 'nowMs' | 'random'> {
  readonly pool: PoolOptions
  /** Default: nobody wants decision records. */
  readonly records?: DecisionRecords
  /** Default: nobody looks on. */
  readonly observers?: Observers | undefined
  /** Wants to know the usage of all responses. Default: nobody does. */
  readonly usage?: UsageSink | undefined
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
  readonly #hooks = new LinkedHooks()
  #generation = 0
  #default: EntryDecider | undefined
  #gateways = new GatewayStreams([])
  #plugs: Readonly<Partial<Record<keyof PlugPlan, Decider>>> = {}

  constructor(options: LinkedPlanOptions) {
    this.#options = options
  }

  /** The decider of an entry id; without one, that of streams which name no entry, told apart by their gRPC metadata. */
  entry(id: string | undefined, headers: StreamHeaders = {}): Decider | undefined {
    if (id !== undefined) return this.#entries.get(id)?.decider
    const plug = headers[PLUG_METADATA]
    if (plug !== undefined) return plug === 'route' || plug === 'pick' ? this.#plugs[plug] : undefined
    return this.#default ?? this.#gateways.decider(headers)
  }

  /** Takes over a plan that `PlanKeeper` has accepted. */
  update({ plan, pools }: PlanShare): void {
    const linked = new Map<string, LinkedPool>()
    for (const share of pools) {
      const { name } = share.plan
      const known = this.pools.get(name)
      known?.adopt(share)
      const pool = known ?? new Pool(share, this.#options.pool)
      const usage = new ResponseUsage(share.plan, pool, this.#options.usage)
      const hooks = this.#hooks.of(share.plan)
      linked.set(name, { pool, plan: share.plan, usage, hooks })
    }
    this.#hooks.keep(linked)
    const { outcomes, nowMs, random, records, observers } = this.#options
    const { routing } = plan
    const baseModels = new Map(Object.entries(routing.baseModels))
    const context: DeciderContext = {
      outcomes,
      nowMs,
      random,
      routing,
      baseModels,
      records,
      observers,
      calls: this.#calls,
    }
    observers?.metrics?.setConfigured(pools.flatMap(({ plan: { rewrites } }) => rewrites.flatMap(modelsOf)))
    const deciders = plan.entries.map(entry => new EntryDecider(entry, linked, context))
    // Entries of earlier plans keep the pools that they were linked to; a pool that has gone has no endpoints any more.
    for (const [name, pool] of this.pools) if (!linked.has(name)) pool.close()
    this.pools.clear()
    for (const [name, { pool }] of linked) this.pools.set(name, pool)
    // A change of endpoints alone is no generation.
    if (deciders.some(decider => !this.#entries.has(decider.plan.id))) this.#generation++
    for (const decider of deciders) this.#entries.set(decider.plan.id, { decider, generation: this.#generation })
    for (const [id, { generation }] of this.#entries) {
      if (generation <= this.#generation - KEPT_GENERATIONS) this.#entries.delete(id)
    }
    this.#default = deciders.find(decider => decider.plan.id === plan.defaultEntry)
    const gatewayPools = (plan.gatewayPools ?? []).map(pool => ({
      plan: pool,
      decider: this.#entries.get(pool.entry)!.decider,
    }))
    this.#gateways = new GatewayStreams(gatewayPools)
    const plugs = Object.entries(plan.plugs ?? {}).map(([plug, id]) => [plug, this.#entries.get(id)!.decider])
    this.#plugs = Object.fromEntries(plugs) as Partial<Record<keyof PlugPlan, Decider>>
  }

  /** We are shutting down: requests that wait before a pool wait no longer. */
  refuseWaiting(): void {
    for (const { gate } of this.pools.values()) gate.flow?.close(FlowOutcome.EVICTED_OTHER)
  }

  /** The endpoints of a pool have listed other models. */
  adoptModels(name: string, models: PoolModels): void {
    this.pools.get(name)?.adoptModels(models)
  }
}
