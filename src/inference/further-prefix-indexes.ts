import type { EndpointTable } from './endpoint-table.ts'
import type { PrefixCachePlan } from './pool-plan.ts'
import { PrefixIndex } from './prefix-index.ts'
import type { PrefixIndexState } from './prefix-index-state.ts'
import { capacityOf } from './whole-blocks.ts'

/** The main thread's side of a pool's prefix caches beside its own, in the order of the plan. Other threads: ./further-prefix-caches.ts. */
export class FurtherPrefixIndexes {
  #indexes = new Map<string, PrefixIndex>()

  /** What is known is kept by the names of the caches. */
  update(plans: readonly PrefixCachePlan[], slots: number, endpoints: number): void {
    const before = this.#indexes
    this.#indexes = new Map()
    for (const { name, blocksPerEndpoint } of plans) {
      const size = { slots, endpoints, blocksPerEndpoint }
      const known = before.get(name)
      known?.reserve(size)
      this.#indexes.set(name, known ?? new PrefixIndex(size))
    }
  }

  get states(): PrefixIndexState[] {
    return Array.from(this.#indexes.values(), ({ state }) => state)
  }

  /** The metrics of the slot's endpoint were read. `blockBytes` of the pool's own index. */
  tune(plans: readonly PrefixCachePlan[], slot: number, blockBytes: number, table: EndpointTable): void {
    for (const { name, stride, autoTune } of plans)
      this.#indexes.get(name)?.holds(slot, autoTune === true ? capacityOf(slot, stride * blockBytes, table) : 0)
  }

  forget(slots: readonly number[]): void {
    for (const index of this.#indexes.values()) index.forget(slots)
  }

  threadDied(): void {
    for (const index of this.#indexes.values()) index.threadDied()
  }
}
