/**
 * The one writer of a KV index (./kv-index.ts has the protocol). On the main thread.
 *
 * A table that gets too full moves to one of twice the size, some buckets with every change, so that no event waits for the whole of it.
 * Meanwhile readers look in the old one, and changes go to both: what is added is in the new one at once if its bucket was copied
 * already or the old one has no room for it, and else comes along. Readers are given the new one when all of it is there.
 */
import { createKvIndexState, type KvIndexState, WAYS } from './kv-index-state.ts'
import { KvTable } from './kv-table.ts'

const FIRST_BLOCKS = 4096
/** Buckets that are copied with a change. The old table has room for longer than that takes. */
const STEP = 4

export interface KvIndexWriterOptions {
  readonly slots: number
  readonly tiers: number
  readonly maxBytes: number
  /** Keys at most. */
  readonly maxKeys: number
  /** Readers must be given `state` anew. */
  readonly onState?: (() => void) | undefined
}

export class KvIndexWriter {
  readonly #options: KvIndexWriterOptions
  #table: KvTable
  /** Where the table moves to, and the buckets that are there already. */
  #next: KvTable | undefined
  #copied = 0
  /** Bucket where the next key is looked for that has to go. */
  #hand = 0
  #evicted = 0

  constructor(options: KvIndexWriterOptions) {
    this.#options = options
    this.#table = new KvTable(createKvIndexState(options.slots, options.tiers, FIRST_BLOCKS, options.maxBytes))
  }

  /** For readers. */
  get state(): KvIndexState {
    return this.#table.state
  }

  get bytes(): number {
    return this.#table.bytes + (this.#next?.bytes ?? 0)
  }

  /** Keys that some endpoint holds, but for a few while it moves. */
  get keys(): number {
    return Math.max(this.#table.keys, this.#next?.keys ?? 0)
  }

  /** Keys that had to go because there was no room. */
  get evicted(): number {
    return this.#evicted + this.#table.evicted + (this.#next?.evicted ?? 0)
  }

  /** See `KvTable`. */
  register(slot: number, blockSize: number): boolean {
    this.#next?.register(slot, blockSize)
    return this.#table.register(slot, blockSize)
  }

  unregister(slot: number): void {
    this.#next?.unregister(slot)
    this.#table.unregister(slot)
  }

  /** `depth`: tokens up to the block's end. */
  add(low: number, high: number, slot: number, tier: number, depth: number): void {
    let entry = this.#table.find(low, high)
    if (entry < 0) {
      this.#makeRoom(low, high)
      if (this.#next === undefined || this.#table.hasRoom(low, high)) entry = this.#table.claim(low, high, depth)
    }
    if (entry >= 0) this.#table.put(entry, tier, slot)
    const next = this.#next
    if (next === undefined) return
    let there = next.find(low, high)
    if (there < 0 && (entry < 0 || entry < this.#copied * WAYS)) there = next.claim(low, high, depth)
    if (there >= 0) next.put(there, tier, slot)
    this.#copy(next, STEP)
  }

  remove(low: number, high: number, slot: number, tier: number): void {
    // It may have had to go before.
    const entry = this.#table.find(low, high)
    if (entry >= 0) this.#table.take(entry, tier, slot)
    const next = this.#next
    if (next === undefined) return
    const there = next.find(low, high)
    if (there >= 0) next.take(there, tier, slot)
    this.#copy(next, STEP)
  }

  /** Makes room for more slots: at once, since their endpoints' blocks have no place before. */
  reserve(slots: number): void {
    if (slots <= this.state.slots) return
    if (this.#next !== undefined) this.#copy(this.#next, this.state.buckets)
    this.#copy(this.#move(slots, this.state.buckets * WAYS), this.state.buckets)
  }

  #makeRoom(low: number, high: number): void {
    const { maxKeys, maxBytes } = this.#options
    const table = this.#table
    const ways = table.state.buckets * WAYS
    if (this.keys >= maxKeys) this.#evictOne()
    else if (this.#next === undefined && 2 * table.bytes <= maxBytes)
      if (table.keys * 4 > ways * 3 || !table.hasRoom(low, high)) this.#move(table.state.slots, 2 * ways)
  }

  /** The deepest of a bucket that has any. */
  #evictOne(): void {
    const table = this.#table
    const { buckets } = table.state
    for (let tries = 0; tries < buckets; tries++) {
      this.#hand = (this.#hand + 1) & (buckets - 1)
      const entry = table.deepest(this.#hand)
      if (entry < 0) continue
      this.#next?.evictAs(table, entry)
      table.evict(entry)
      this.#evicted++
      return
    }
  }

  #move(slots: number, blocks: number): KvTable {
    const { tiers, maxBytes } = this.#options
    const next = new KvTable(createKvIndexState(slots, tiers, blocks, maxBytes))
    next.copyHeader(this.#table)
    this.#next = next
    this.#copied = 0
    return next
  }

  #copy(next: KvTable, buckets: number): void {
    const table = this.#table
    const end = Math.min(this.#copied + buckets, table.state.buckets)
    for (let index = this.#copied; index < end; index++) next.copyBucket(table, index)
    this.#copied = end
    if (end < table.state.buckets) return
    this.#evicted += table.evicted
    this.#table = next
    this.#next = undefined
    // Keys that only the new one had room for did not count.
    while (next.keys > this.#options.maxKeys) this.#evictOne()
    this.#options.onState?.()
  }
}
