import type { EndpointTable } from './endpoint-table.ts'
import type { PickRequest } from './pick.ts'
import type { PrefixCachePlan } from './pool-plan.ts'
import type { BlockHashes, PrefixHasher } from './prefix-hasher.ts'
import { PrefixIndex } from './prefix-index.ts'
import type { PrefixIndexState } from './prefix-index-state.ts'
import type { Candidates } from './scheduling/candidates.ts'
import { toWholeBlocks } from './whole-blocks.ts'

/** The approximate prefix caches that a pool has beside its own, for plug-ins that name them (epp.md §2.2, tiered-prefix-cache-cpu). */
export class FurtherPrefixCaches {
  #caches: FurtherPrefixCache[] = []

  /** `states`: those of the plan's caches; `known`: the memory that was there already. */
  adopt(plans: readonly PrefixCachePlan[], states: readonly (PrefixIndexState | 'known')[], capacity: number): void {
    const before = new Map(this.#caches.map(cache => [cache.plan.name, cache]))
    this.#caches = plans.map((plan, place) => {
      const state = states[place]
      const index = state === undefined || state === 'known' ? before.get(plan.name)?.index : new PrefixIndex(state)
      if (index === undefined) throw new RangeError(`the prefix cache ${plan.name} has no memory`)
      return new FurtherPrefixCache(plan, index, capacity)
    })
  }

  /** Looks up what endpoints have of the prompt. */
  match(prefix: PrefixHasher, seed: number, table: EndpointTable): void {
    for (let c = 0; c < this.#caches.length; c++) this.#caches[c]!.match(prefix, seed, table)
  }

  /** Tells the candidates what `match` has found. */
  share(candidates: Candidates, request: PickRequest): void {
    for (let c = 0; c < this.#caches.length; c++) this.#caches[c]!.share(candidates, request)
  }

  /** Notes that the endpoint is about to hold all blocks of the prompt that was matched last. */
  record(seed: number, slot: number): void {
    for (let c = 0; c < this.#caches.length; c++) this.#caches[c]!.record(seed, slot)
  }
}

/** Blocks of `stride` blocks of a hasher: as hashes are chained, every so many-th one stands for all before it. */
class StridedHashes implements BlockHashes {
  count = 0
  low = new Int32Array(0)
  high = new Int32Array(0)

  take({ count, low, high }: PrefixHasher, stride: number, maxBlocks: number): void {
    this.count = Math.min(maxBlocks, Math.floor(count / stride))
    if (this.low.length < this.count) {
      this.low = new Int32Array(low.length)
      this.high = new Int32Array(low.length)
    }
    for (let block = 0; block < this.count; block++) {
      const at = (block + 1) * stride - 1
      this.low[block] = low[at]!
      this.high[block] = high[at]!
    }
  }
}

class FurtherPrefixCache {
  readonly plan: PrefixCachePlan
  readonly index: PrefixIndex
  readonly #hashes = new StridedHashes()
  readonly #matched: Int32Array
  #longest = 0
  #blockBytes = 0
  #maxBlocks = 0

  constructor(plan: PrefixCachePlan, index: PrefixIndex, capacity: number) {
    this.plan = plan
    this.index = index
    this.#matched = new Int32Array(Math.ceil(capacity / 32) * 32)
  }

  match(prefix: PrefixHasher, seed: number, table: EndpointTable): void {
    const { stride, bytes = Number.POSITIVE_INFINITY, autoTune } = this.plan
    this.#blockBytes = stride * prefix.blockBytes
    this.#maxBlocks = Math.floor(Math.min(bytes, prefix.maxBlocks * prefix.blockBytes) / this.#blockBytes)
    this.#hashes.take(prefix, stride, this.#maxBlocks)
    this.#longest = this.index.match(this.#hashes, seed, this.#matched)
    if (this.#longest > 0 && autoTune === true) toWholeBlocks(this.#matched, this.#blockBytes, table)
  }

  share(candidates: Candidates, { promptBytes }: PickRequest): void {
    const match = candidates.matchOf(this.plan.name)
    match.bytes = 0
    if (this.#longest === 0) return
    const bytes = Math.min(promptBytes, this.#maxBlocks * this.#blockBytes)
    const blocks = Math.max(this.#hashes.count, Math.ceil(bytes / this.#blockBytes))
    match.bytes = blocks * this.#blockBytes
    for (let i = 0; i < candidates.count; i++) match.share[i] = this.#matched[candidates.slots[i]!]! / blocks
  }

  record(seed: number, slot: number): void {
    this.index.record(this.#hashes, seed, slot)
  }
}
