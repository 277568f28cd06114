/**
 * Plans on their way from the main thread to a worker. A pool may have thousands of endpoints of which a change touches one: a
 * worker that serves requests must not read all of them anew, so each gets only what it has not been sent yet.
 */
import type { EndpointTableState } from '../inference/endpoint-table-state.ts'
import type { SlotShare } from '../inference/endpoint-table.ts'
import type { EndpointPlan, PoolPlan } from '../inference/pool-plan.ts'
import type { PoolShare } from '../inference/pool-share.ts'
import type { PlanShare } from '../pipeline/plan-share.ts'

/** What has changed in a collection since the worker was sent it last. */
interface Changes<Key, Item> {
  readonly gone: readonly Key[]
  readonly changed: readonly Item[]
}

interface PoolWire extends Omit<PoolShare, 'plan' | 'slots'> {
  readonly plan: Omit<PoolPlan, 'endpoints'>
  readonly endpoints: Changes<string, EndpointPlan>
  readonly slots: Changes<number, SlotShare>
}

/** A plan as one worker gets it. Plain data. */
export interface PlanWire {
  readonly plan: PlanShare['plan']
  readonly pools: readonly PoolWire[]
}

/** What a worker has of a pool. */
class KnownPool {
  readonly endpoints = new Map<string, EndpointPlan>()
  readonly slots = new Map<number, SlotShare>()
}

/** The main thread's end, for one worker: everything that is packed must reach it, in that order. */
export class PlanSender {
  /** Shared memory that the worker has: V8 would take it for a new one of its size. */
  readonly #memory = new WeakSet<object>()
  #pools = new Map<string, KnownPool>()

  pack({ plan, pools }: PlanShare): PlanWire {
    const known = new Map<string, KnownPool>()
    const wires = pools.map(share => {
      const pool = this.#pools.get(share.plan.name) ?? new KnownPool()
      known.set(share.plan.name, pool)
      return this.#pack(share, pool)
    })
    this.#pools = known
    return { plan, pools: wires }
  }

  #pack({ plan, slots, table, index, furtherIndexes, ...rest }: PoolShare, known: KnownPool): PoolWire {
    const { endpoints, ...others } = plan
    return {
      ...rest,
      plan: others,
      endpoints: changes(known.endpoints, endpoints, ({ address }) => address),
      slots: changes(known.slots, slots, ({ slot }) => slot),
      table: this.#once<EndpointTableState>(table),
      index: index === undefined ? undefined : this.#once(index),
      ...(furtherIndexes === undefined ? {} : { furtherIndexes: furtherIndexes.map(each => this.#once(each)) }),
    }
  }

  #once<T extends object>(state: T | 'known'): T | 'known' {
    if (state === 'known' || this.#memory.has(state)) return 'known'
    this.#memory.add(state)
    return state
  }
}

/** The worker's end. Endpoints and slots come out in no order. */
export class PlanReceiver {
  #pools = new Map<string, KnownPool>()

  unpack({ plan, pools }: PlanWire): PlanShare {
    const known = new Map<string, KnownPool>()
    const shares = pools.map(({ endpoints, slots, plan: others, ...rest }): PoolShare => {
      const pool = this.#pools.get(others.name) ?? new KnownPool()
      known.set(others.name, pool)
      apply(pool.endpoints, endpoints, ({ address }) => address)
      apply(pool.slots, slots, ({ slot }) => slot)
      return {
        ...rest,
        plan: { ...others, endpoints: [...pool.endpoints.values()] },
        slots: [...pool.slots.values()],
      }
    })
    this.#pools = known
    return { plan, pools: shares }
  }
}

/** Brings `known` to `items`, and tells how. */
function changes<Key, Item extends object>(
  known: Map<Key, Item>,
  items: readonly Item[],
  keyOf: (item: Item) => Key,
): Changes<Key, Item> {
  const changed: Item[] = []
  const here = new Set<Key>()
  for (const item of items) {
    const key = keyOf(item)
    here.add(key)
    const before = known.get(key)
    if (before !== undefined && same(before, item)) continue
    known.set(key, item)
    changed.push(item)
  }
  const gone: Key[] = []
  if (known.size > here.size) for (const key of known.keys()) if (!here.has(key)) gone.push(key)
  for (const key of gone) known.delete(key)
  return { gone, changed }
}

function apply<Key, Item>(known: Map<Key, Item>, { gone, changed }: Changes<Key, Item>, keyOf: (item: Item) => Key) {
  for (const key of gone) known.delete(key)
  for (const item of changed) known.set(keyOf(item), item)
}

/** Whether two plain objects of texts and numbers, or of such objects, are the same. */
function same(a: object, b: object): boolean {
  if (a === b) return true
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  for (const key of keys) {
    const [left, right] = [Reflect.get(a, key) as unknown, Reflect.get(b, key) as unknown]
    if (left === right) continue
    if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false
    if (!same(left, right)) return false
  }
  return true
}
