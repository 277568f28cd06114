/** The writer's view of one table of a KV index (./kv-index-state.ts; ./kv-index.ts has the protocol). */
import {
  firstBucket,
  HIGH,
  type KvIndexLayout,
  kvIndexLayout,
  type KvIndexState,
  MAX_BLOCK_SIZES,
  secondBucket,
  SETS,
  VERSION,
  WAYS,
} from './kv-index-state.ts'

/** Entries are numbered through: bucket × WAYS + way. */
export class KvTable {
  readonly state: KvIndexState
  /** Keys that some endpoint holds. */
  keys = 0
  /** Keys that `claim` wrote over. */
  evicted = 0
  readonly #layout: KvIndexLayout
  readonly #memory: Int32Array
  /** By entry: tokens up to the end of its block. */
  readonly #depths: Int32Array

  constructor(state: KvIndexState) {
    this.state = state
    this.#layout = kvIndexLayout(state)
    this.#memory = new Int32Array(state.memory)
    this.#depths = new Int32Array(state.buckets * WAYS)
  }

  get bytes(): number {
    return this.state.memory.byteLength
  }

  /** The slot's endpoint tells what it holds, in blocks of so many tokens. False: there are too many sizes already. */
  register(slot: number, blockSize: number): boolean {
    const memory = this.#memory
    const { blockSizes, members, words } = this.#layout
    let free = -1
    for (let c = 0; c < MAX_BLOCK_SIZES; c++) {
      const size = memory[blockSizes + c]!
      if (size === blockSize) {
        Atomics.or(memory, members + c * words + (slot >> 5), 1 << (slot & 31))
        return true
      }
      if (size === 0 && free < 0) free = c
    }
    if (free < 0) return false
    Atomics.or(memory, members + free * words + (slot >> 5), 1 << (slot & 31))
    Atomics.store(memory, blockSizes + free, blockSize)
    return true
  }

  /** The slot's endpoint tells nothing any more. */
  unregister(slot: number): void {
    const memory = this.#memory
    const { blockSizes, members, words } = this.#layout
    for (let c = 0; c < MAX_BLOCK_SIZES; c++) {
      const start = members + c * words
      Atomics.and(memory, start + (slot >> 5), ~(1 << (slot & 31)))
      if (memory.subarray(start, start + words).every(word => word === 0)) Atomics.store(memory, blockSizes + c, 0)
    }
  }

  /** −1: nobody holds it. */
  find(low: number, high: number): number {
    const { buckets } = this.state
    const first = this.#findIn(firstBucket(high, buckets), low, high)
    return first < 0 ? this.#findIn(secondBucket(low, high, buckets), low, high) : first
  }

  /** Whether `claim` would take no key's place. */
  hasRoom(low: number, high: number): boolean {
    const { buckets } = this.state
    return this.#freeWay(firstBucket(high, buckets)) >= 0 || this.#freeWay(secondBucket(low, high, buckets)) >= 0
  }

  /** A way for the key in the emptier of its buckets; two full ones give up their deepest. */
  claim(low: number, high: number, depth: number): number {
    const memory = this.#memory
    const { buckets } = this.state
    const one = firstBucket(high, buckets)
    const other = secondBucket(low, high, buckets)
    let entry = this.#freeWay(this.#used(other) < this.#used(one) ? other : one)
    if (entry < 0) {
      const a = this.deepest(one)
      const b = this.deepest(other)
      entry = this.#depths[b]! > this.#depths[a]! ? b : a
      this.evict(entry)
      this.evicted++
    }
    const bucket = this.#bucketOf(entry)
    Atomics.add(memory, bucket + VERSION, 1)
    Atomics.store(memory, bucket + HIGH + (entry % WAYS), high)
    Atomics.store(memory, bucket + (entry % WAYS), low)
    Atomics.add(memory, bucket + VERSION, 1)
    this.#depths[entry] = depth
    this.keys++
    return entry
  }

  put(entry: number, tier: number, slot: number): void {
    const bucket = this.#bucketOf(entry)
    const at = this.#sets(entry) + tier * this.#layout.words + (slot >> 5)
    Atomics.add(this.#memory, bucket + VERSION, 1)
    Atomics.or(this.#memory, at, 1 << (slot & 31))
    Atomics.add(this.#memory, bucket + VERSION, 1)
  }

  /** The entry goes with its last holder. */
  take(entry: number, tier: number, slot: number): void {
    const memory = this.#memory
    const bucket = this.#bucketOf(entry)
    const sets = this.#sets(entry)
    Atomics.add(memory, bucket + VERSION, 1)
    Atomics.and(memory, sets + tier * this.#layout.words + (slot >> 5), ~(1 << (slot & 31)))
    let left = 0
    for (let i = 0; i < this.#layout.way; i++) left |= memory[sets + i]!
    if (left === 0) this.#free(entry)
    Atomics.add(memory, bucket + VERSION, 1)
  }

  evict(entry: number): void {
    const bucket = this.#bucketOf(entry)
    Atomics.add(this.#memory, bucket + VERSION, 1)
    this.#free(entry)
    Atomics.add(this.#memory, bucket + VERSION, 1)
  }

  /** Forgets what `other` has in this entry, if it is here. */
  evictAs(other: KvTable, entry: number): void {
    const at = other.#bucketOf(entry) + (entry % WAYS)
    const here = this.find(other.#memory[at]!, other.#memory[at + HIGH]!)
    if (here >= 0) this.evict(here)
  }

  /** Entry of the bucket's deepest block, −1 = the bucket is empty. */
  deepest(index: number): number {
    const bucket = this.#layout.buckets + index * this.#layout.stride
    let deepest = -1
    for (let way = 0; way < WAYS; way++) {
      const entry = index * WAYS + way
      if (this.#memory[bucket + way] === 0) continue
      if (deepest < 0 || this.#depths[entry]! > this.#depths[deepest]!) deepest = entry
    }
    return deepest
  }

  /** Block sizes, and who has them. */
  copyHeader(from: KvTable): void {
    for (let c = 0; c < MAX_BLOCK_SIZES; c++) {
      this.#memory[this.#layout.blockSizes + c] = from.#memory[from.#layout.blockSizes + c]!
      for (let word = 0; word < from.#layout.words; word++)
        this.#memory[this.#layout.members + c * this.#layout.words + word] =
          from.#memory[from.#layout.members + c * from.#layout.words + word]!
    }
  }

  /** Adds what is in a bucket of a table with no more slots. Nobody may read this one yet. */
  copyBucket(from: KvTable, index: number): void {
    const source = from.#memory
    const target = this.#memory
    const { words } = from.#layout
    const bucket = from.#layout.buckets + index * from.#layout.stride
    for (let way = 0; way < WAYS; way++) {
      const low = source[bucket + way]!
      if (low === 0) continue
      const high = source[bucket + HIGH + way]!
      const known = this.find(low, high)
      const to = this.#sets(known < 0 ? this.claim(low, high, from.#depths[index * WAYS + way]!) : known)
      const sets = bucket + SETS + way * from.#layout.way
      for (let tier = 0; tier < this.state.tiers; tier++)
        for (let word = 0; word < words; word++)
          target[to + tier * this.#layout.words + word]! |= source[sets + tier * words + word]!
    }
  }

  #findIn(index: number, low: number, high: number): number {
    const memory = this.#memory
    const bucket = this.#layout.buckets + index * this.#layout.stride
    for (let way = 0; way < WAYS; way++)
      if (memory[bucket + way] === low && memory[bucket + HIGH + way] === high) return index * WAYS + way
    return -1
  }

  /** Offset of an entry's bucket. */
  #bucketOf(entry: number): number {
    return this.#layout.buckets + Math.trunc(entry / WAYS) * this.#layout.stride
  }

  #sets(entry: number): number {
    return this.#bucketOf(entry) + SETS + (entry % WAYS) * this.#layout.way
  }

  #used(index: number): number {
    const bucket = this.#layout.buckets + index * this.#layout.stride
    let used = 0
    for (let way = 0; way < WAYS; way++) if (this.#memory[bucket + way] !== 0) used++
    return used
  }

  #freeWay(index: number): number {
    const bucket = this.#layout.buckets + index * this.#layout.stride
    for (let way = 0; way < WAYS; way++) if (this.#memory[bucket + way] === 0) return index * WAYS + way
    return -1
  }

  #free(entry: number): void {
    const bucket = this.#bucketOf(entry)
    const sets = this.#sets(entry)
    Atomics.store(this.#memory, bucket + (entry % WAYS), 0)
    Atomics.store(this.#memory, bucket + HIGH + (entry % WAYS), 0)
    for (let i = 0; i < this.#layout.way; i++) Atomics.store(this.#memory, sets + i, 0)
    this.keys--
  }
}
