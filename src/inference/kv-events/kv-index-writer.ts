/** The one writer of a KV index (./kv-index.ts has the protocol). On the main thread. */
import {
  createKvIndexState,
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

const FIRST_BLOCKS = 4096

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
  /** Keys that some endpoint holds. */
  keys = 0
  /** Keys that had to go because there was no room. */
  evicted = 0
  readonly #options: KvIndexWriterOptions
  #state!: KvIndexState
  #layout!: KvIndexLayout
  #memory!: Int32Array
  /** By way: tokens up to the end of its block. */
  #depths!: Int32Array
  /** Bucket where the next key is looked for that has to go. */
  #hand = 0

  constructor(options: KvIndexWriterOptions) {
    this.#options = options
    this.#map(createKvIndexState(options.slots, options.tiers, FIRST_BLOCKS, options.maxBytes))
  }

  /** For readers. */
  get state(): KvIndexState {
    return this.#state
  }

  get bytes(): number {
    return this.#state.memory.byteLength
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

  /** `depth`: tokens up to the block's end. */
  add(low: number, high: number, slot: number, tier: number, depth: number): void {
    let entry = this.#find(low, high)
    if (entry < 0) {
      this.#makeRoom(low, high)
      entry = this.#claim(low, high, depth)
    }
    const bucket = this.#bucketOf(entry)
    const at = this.#setAt(entry, tier, slot)
    this.#change(bucket, () => Atomics.or(this.#memory, at, 1 << (slot & 31)))
  }

  remove(low: number, high: number, slot: number, tier: number): void {
    const entry = this.#find(low, high)
    // It had to go before.
    if (entry < 0) return
    const bucket = this.#bucketOf(entry)
    const at = this.#setAt(entry, tier, slot)
    const sets = this.#sets(entry)
    this.#change(bucket, () => {
      Atomics.and(this.#memory, at, ~(1 << (slot & 31)))
      for (let i = 0; i < this.#layout.way; i++) if (this.#memory[sets + i] !== 0) return
      this.#free(entry)
    })
  }

  /** Makes room for more slots. */
  reserve(slots: number): void {
    if (slots > this.#state.slots) this.#move(slots, this.#state.buckets * WAYS)
  }

  /** Entries are numbered through: bucket × WAYS + way. */
  #find(low: number, high: number): number {
    const { buckets } = this.#state
    const first = this.#findIn(firstBucket(high, buckets), low, high)
    return first < 0 ? this.#findIn(secondBucket(low, high, buckets), low, high) : first
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

  #setAt(entry: number, tier: number, slot: number): number {
    return this.#sets(entry) + tier * this.#layout.words + (slot >> 5)
  }

  #change(bucket: number, change: () => void): void {
    Atomics.add(this.#memory, bucket + VERSION, 1)
    change()
    Atomics.add(this.#memory, bucket + VERSION, 1)
  }

  /** A way for the key in the emptier of its buckets; two full ones give up their deepest. */
  #claim(low: number, high: number, depth: number): number {
    const memory = this.#memory
    const { buckets } = this.#state
    const [one, other] = [firstBucket(high, buckets), secondBucket(low, high, buckets)]
    const index = this.#used(other) < this.#used(one) ? other : one
    let entry = this.#freeWay(index)
    if (entry < 0) {
      const [a, b] = [this.#deepest(one), this.#deepest(other)]
      entry = this.#depths[b]! > this.#depths[a]! ? b : a
      this.#evict(entry)
    }
    const bucket = this.#bucketOf(entry)
    this.#change(bucket, () => {
      Atomics.store(memory, bucket + HIGH + (entry % WAYS), high)
      Atomics.store(memory, bucket + (entry % WAYS), low)
    })
    this.#depths[entry] = depth
    this.keys++
    return entry
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

  /** Entry of the bucket's deepest block, −1 = the bucket is empty. */
  #deepest(index: number): number {
    const bucket = this.#layout.buckets + index * this.#layout.stride
    let deepest = -1
    for (let way = 0; way < WAYS; way++) {
      const entry = index * WAYS + way
      if (this.#memory[bucket + way] === 0) continue
      if (deepest < 0 || this.#depths[entry]! > this.#depths[deepest]!) deepest = entry
    }
    return deepest
  }

  #evict(entry: number): void {
    this.evicted++
    this.#change(this.#bucketOf(entry), () => this.#free(entry))
  }

  #free(entry: number): void {
    const bucket = this.#bucketOf(entry)
    const sets = this.#sets(entry)
    Atomics.store(this.#memory, bucket + (entry % WAYS), 0)
    Atomics.store(this.#memory, bucket + HIGH + (entry % WAYS), 0)
    for (let i = 0; i < this.#layout.way; i++) Atomics.store(this.#memory, sets + i, 0)
    this.keys--
  }

  #makeRoom(low: number, high: number): void {
    const { maxKeys, maxBytes } = this.#options
    const { buckets } = this.#state
    const ways = buckets * WAYS
    const full = () =>
      this.#freeWay(firstBucket(high, buckets)) < 0 && this.#freeWay(secondBucket(low, high, buckets)) < 0
    if (this.keys >= maxKeys) this.#evictOne()
    else if ((this.keys * 4 > ways * 3 || full()) && 2 * this.bytes <= maxBytes) this.#move(this.#state.slots, 2 * ways)
  }

  /** The deepest of a bucket that has any. */
  #evictOne(): void {
    const { buckets } = this.#state
    for (let tries = 0; tries < buckets; tries++) {
      this.#hand = (this.#hand + 1) & (buckets - 1)
      const entry = this.#deepest(this.#hand)
      if (entry < 0) continue
      this.#evict(entry)
      return
    }
  }

  #move(slots: number, blocks: number): void {
    const { tiers, maxBytes } = this.#options
    const before = { state: this.#state, layout: this.#layout, memory: this.#memory, depths: this.#depths }
    this.#map(createKvIndexState(slots, tiers, blocks, maxBytes))
    this.keys = 0
    for (let c = 0; c < MAX_BLOCK_SIZES; c++) {
      this.#memory[this.#layout.blockSizes + c] = before.memory[before.layout.blockSizes + c]!
      for (let word = 0; word < before.layout.words; word++)
        this.#memory[this.#layout.members + c * this.#layout.words + word] =
          before.memory[before.layout.members + c * before.layout.words + word]!
    }
    for (let entry = 0; entry < before.state.buckets * WAYS; entry++) {
      const bucket = before.layout.buckets + Math.trunc(entry / WAYS) * before.layout.stride
      const way = entry % WAYS
      const low = before.memory[bucket + way]!
      if (low === 0) continue
      const from = bucket + SETS + way * before.layout.way
      const to = this.#sets(this.#claim(low, before.memory[bucket + HIGH + way]!, before.depths[entry]!))
      for (let tier = 0; tier < tiers; tier++)
        for (let word = 0; word < before.layout.words; word++)
          this.#memory[to + tier * this.#layout.words + word] = before.memory[from + tier * before.layout.words + word]!
    }
    this.#options.onState?.()
  }

  #map(state: KvIndexState): void {
    this.#state = state
    this.#layout = kvIndexLayout(state)
    this.#memory = new Int32Array(state.memory)
    this.#depths = new Int32Array(state.buckets * WAYS)
  }
}
