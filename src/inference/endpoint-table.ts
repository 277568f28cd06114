/**
 * Endpoints of one pool as a struct of arrays in SharedArrayBuffers: the thread that scrapes writes what replicas say of
 * themselves, every thread counts its own decisions, and all read all. Addresses and labels are control data and stay outside.
 *
 * A *slot* is stable while its endpoint lives. A freed slot gets a new *generation*, so that a late `release` of the previous
 * tenant changes nothing. The state grows by re-allocation (`state` is then another object): other threads adopt it by message
 * and carry over their own column of the counters, which nobody else writes.
 *
 * Counters (design.md, "In-flight counts"): `decided` rises at each pick, `released` when a request is over, `observed` is
 * `decided` as it was when the last *successful* scrape began. Decisions since then are not yet in the replica's own numbers,
 * so that `unseen = decided − observed` is added to them: this is what spreads a burst inside one scrape interval. All three only
 * rise (differences survive 32-bit wrap-around) and have a column per thread, so that a dead thread's share can be zeroed.
 */
import type { VllmMetrics } from './metrics-parser.ts'
import type { EndpointPlan } from './pool-plan.ts'

/** Adapters remembered per endpoint, running ones first; vLLM's `max_loras` is far smaller. */
export const ADAPTERS_PER_ENDPOINT = 64

export const EndpointState = {
  /** The slot is unused. */
  FREE: 0,
  /** May be picked. */
  READY: 1,
  /** Its scrapes fail in a way that requests would fail too: not picked until one works. */
  UNREACHABLE: 2,
} as const

/**
 * An idle replica to which nothing was decided for so long has nothing in flight, ms. Long enough for the access log's entries, which
 * come in batches: a count that is settled before them would be lowered twice.
 */
const SETTLE_AFTER_MS = 2000

/** What lowers in-flight counts; exactly one of them may, or requests would be counted down twice. */
export type ReleaseBy = 'response' | 'access-log' | 'scrape'

/** The shared memory of a table: hand it to another thread to build a table on the same numbers. */
export interface EndpointTableState {
  readonly capacity: number
  readonly threads: number
  readonly integers: SharedArrayBuffer
  readonly doubles: SharedArrayBuffer
}

export interface EndpointTableOptions {
  readonly releaseBy: ReleaseBy
  /** Number of threads that will count; default 1. */
  readonly threads?: number
  /** Index of this thread; default 0. */
  readonly thread?: number
}

const INTEGER_COLUMNS = 10
const COUNTER_COLUMNS = 4
const DOUBLE_COLUMNS = 2
const INITIAL_CAPACITY = 32

export function createEndpointTableState(capacity: number, threads: number): EndpointTableState {
  const integers = capacity * (INTEGER_COLUMNS + ADAPTERS_PER_ENDPOINT + COUNTER_COLUMNS * threads)
  return {
    capacity,
    threads,
    integers: new SharedArrayBuffer(integers * Int32Array.BYTES_PER_ELEMENT),
    doubles: new SharedArrayBuffer(capacity * DOUBLE_COLUMNS * Float64Array.BYTES_PER_ELEMENT),
  }
}

export class EndpointTable {
  readonly releaseBy: ReleaseBy
  readonly thread: number
  /** Number of slots. */
  capacity = 0
  /** Live slots, dense, in no order: `live[0, liveCount)`. */
  live = new Int32Array(INITIAL_CAPACITY)
  liveCount = 0

  // Columns, indexed by slot. Written by the scraping thread only.
  endpointState!: Int32Array
  generation!: Int32Array
  waiting!: Int32Array
  running!: Int32Array
  blockSize!: Int32Array
  blockCount!: Int32Array
  maxLora!: Int32Array
  /** Adapters that serve requests now, and those that wait for a place; the ids stand in `adapters`, running ones first. */
  runningAdapters!: Int32Array
  waitingAdapters!: Int32Array
  /** `ADAPTERS_PER_ENDPOINT` ids (./adapter-id.ts) for each slot. */
  adapters!: Int32Array
  /** Scrapes that failed since the last good one. */
  failures!: Int32Array
  /** 0 … 1 */
  kvUsage!: Float64Array
  /** Start of the last good scrape, Unix ms; 0 = never. */
  scrapedAt!: Float64Array

  // Counters: `thread * capacity + slot`.
  #decided!: Int32Array
  #released!: Int32Array
  #observed!: Int32Array
  /** `decided` when the scrape under way began. */
  #begun!: Int32Array

  #state!: EndpointTableState
  readonly #slots = new Map<string, number>()
  /** Start of the first scrape since which a slot is idle and nothing was decided (Unix ms); only on the thread that scrapes. */
  readonly #idleSince: (number | undefined)[] = []
  /** Requests to be released by a scrape (`releaseOnceSeen`), and how many of them the scrape under way covers. */
  readonly #unseenEnds: (number | undefined)[] = []
  readonly #coveredEnds: (number | undefined)[] = []
  readonly #addresses: (string | undefined)[] = []
  readonly #labels: (Readonly<Record<string, string>> | undefined)[] = []

  constructor(options: EndpointTableOptions, state?: EndpointTableState) {
    this.releaseBy = options.releaseBy
    this.thread = options.thread ?? 0
    this.#map(state ?? createEndpointTableState(INITIAL_CAPACITY, options.threads ?? 1))
    if (this.thread < 0 || this.thread >= this.#state.threads)
      throw new RangeError(`no column for thread ${this.thread}`)
  }

  get state(): EndpointTableState {
    return this.#state
  }

  slotOf(address: string): number | undefined {
    return this.#slots.get(address)
  }

  /** `ip:port`; undefined for a free slot. */
  address(slot: number): string | undefined {
    return this.#addresses[slot]
  }

  labels(slot: number): Readonly<Record<string, string>> | undefined {
    return this.#labels[slot]
  }

  /** Adds and removes endpoints so that exactly `endpoints` are there (duplicates count once). Returns the freed slots. */
  update(endpoints: readonly EndpointPlan[]): readonly number[] {
    const wanted = new Map(endpoints.map(endpoint => [endpoint.address, endpoint]))
    const freed: number[] = []
    for (const [address, slot] of this.#slots) {
      if (wanted.has(address)) continue
      this.#slots.delete(address)
      this.#free(slot)
      freed.push(slot)
    }
    if (wanted.size > this.capacity) this.#grow(wanted.size)
    for (const [address, endpoint] of wanted) {
      const slot = this.#slots.get(address) ?? this.#take(address)
      this.#labels[slot] = endpoint.labels
    }
    this.liveCount = 0
    for (const slot of this.#slots.values()) this.live[this.liveCount++] = slot
    return freed
  }

  /** Counts a request that was sent to this endpoint. */
  decide(slot: number): void {
    Atomics.add(this.#decided, this.thread * this.capacity + slot, 1)
  }

  /** Counts down a request that is over. Without effect when the endpoint has gone or releases come from scrapes. */
  release(slot: number, generation: number): void {
    if (this.releaseBy === 'scrape' || this.generation[slot] !== generation) return
    // A count that was settled already, or a release that comes twice: below zero it would hide the next requests.
    if (this.#difference(this.#decided, this.#released, slot) <= 0) return
    Atomics.add(this.#released, this.thread * this.capacity + slot, 1)
  }

  /** As `release`, but with the next scrape that can see the request: its own end will not be told. */
  releaseOnceSeen(slot: number, generation: number): void {
    if (this.releaseBy === 'scrape' || this.generation[slot] !== generation) return
    this.#unseenEnds[slot] = (this.#unseenEnds[slot] ?? 0) + 1
  }

  /** Requests decided and not known to be over. */
  inFlight(slot: number): number {
    return Math.max(0, this.#difference(this.#decided, this.#released, slot))
  }

  /** Requests decided that the last good scrape cannot have seen, without those that are over already. */
  unseen(slot: number): number {
    const unseen = this.#difference(this.#decided, this.#observed, slot)
    return unseen <= 0 ? 0 : Math.min(unseen, this.inFlight(slot))
  }

  /** Call a moment before a scrape's request is sent: what is decided from now on may not have reached the replica by then. */
  scrapeBegan(slot: number): void {
    const { capacity, threads } = this.#state
    this.#coveredEnds[slot] = this.#unseenEnds[slot]
    for (let at = slot; at < capacity * threads; at += capacity) {
      Atomics.store(this.#begun, at, Atomics.load(this.#decided, at))
    }
  }

  /**
   * Takes over a good scrape that began at `beganAt` (Unix ms). A replica that stays idle while nothing is decided proves that nothing
   * is in flight: counts that lost releases left behind are settled then.
   */
  scraped(slot: number, metrics: VllmMetrics, beganAt: number): void {
    this.waiting[slot] = metrics.waiting
    this.running[slot] = metrics.running
    this.kvUsage[slot] = metrics.kvUsage
    this.blockSize[slot] = metrics.blockSize
    this.blockCount[slot] = metrics.blockCount
    this.maxLora[slot] = metrics.maxLora
    this.runningAdapters[slot] = metrics.runningAdapters
    this.waitingAdapters[slot] = metrics.waitingAdapters
    const adapters = metrics.runningAdapters + metrics.waitingAdapters
    for (let i = 0; i < adapters; i++) this.adapters[slot * ADAPTERS_PER_ENDPOINT + i] = metrics.adapters[i]!

    const { capacity, threads } = this.#state
    const quiet = this.#difference(this.#decided, this.#observed, slot) === 0
    for (let ends = this.#coveredEnds[slot] ?? 0; ends > 0; ends--) {
      this.#unseenEnds[slot]!--
      this.release(slot, this.generation[slot]!)
    }
    this.#coveredEnds[slot] = 0
    if (quiet && metrics.waiting + metrics.running === 0) this.#settle(slot, beganAt)
    else this.#idleSince[slot] = undefined
    for (let at = slot; at < capacity * threads; at += capacity) {
      const seen = Atomics.load(this.#begun, at)
      Atomics.store(this.#observed, at, seen)
      if (this.releaseBy === 'scrape') Atomics.store(this.#released, at, seen)
    }
    this.failures[slot] = 0
    this.scrapedAt[slot] = beganAt
    this.endpointState[slot] = EndpointState.READY
  }

  /** The replica was idle at `now`, and nothing was decided since the scrape before. */
  #settle(slot: number, now: number): void {
    const since = (this.#idleSince[slot] ??= now)
    if (this.releaseBy === 'scrape' || now - since < SETTLE_AFTER_MS) return
    const leaked = this.#difference(this.#decided, this.#released, slot)
    if (leaked !== 0) Atomics.add(this.#released, this.thread * this.capacity + slot, leaked)
  }

  /** Forgets what a thread that has died had counted. */
  clearThread(thread: number): void {
    const { capacity } = this.#state
    for (const column of [this.#decided, this.#released, this.#observed, this.#begun]) {
      column.fill(0, thread * capacity, (thread + 1) * capacity)
    }
  }

  /** Plain loads: a count that is an instant old is as good, and 100 endpoints are summed per pick. */
  #difference(more: Int32Array, less: Int32Array, slot: number): number {
    const { length } = more
    const { capacity } = this
    let sum = 0
    for (let at = slot; at < length; at += capacity) sum += more[at]! - less[at]!
    return sum | 0
  }

  #take(address: string): number {
    let slot = 0
    while (this.endpointState[slot] !== EndpointState.FREE) slot++
    this.#slots.set(address, slot)
    this.#addresses[slot] = address
    this.endpointState[slot] = EndpointState.READY
    return slot
  }

  #free(slot: number): void {
    const { capacity, threads } = this.#state
    const generation = this.generation[slot]! + 1
    const integers = new Int32Array(this.#state.integers)
    for (let column = 0; column < INTEGER_COLUMNS; column++) integers[column * capacity + slot] = 0
    this.generation[slot] = generation
    for (const column of [this.#decided, this.#released, this.#observed, this.#begun]) {
      for (let at = slot; at < capacity * threads; at += capacity) Atomics.store(column, at, 0)
    }
    this.kvUsage[slot] = 0
    this.scrapedAt[slot] = 0
    this.#idleSince[slot] = undefined
    this.#unseenEnds[slot] = undefined
    this.#coveredEnds[slot] = undefined
    this.#addresses[slot] = undefined
    this.#labels[slot] = undefined
  }

  #grow(count: number): void {
    const old = this.#state
    const oldIntegers = new Int32Array(old.integers)
    const oldDoubles = new Float64Array(old.doubles)
    let capacity = old.capacity
    while (capacity < count) capacity *= 2
    const state = createEndpointTableState(capacity, old.threads)
    const integers = new Int32Array(state.integers)
    const doubles = new Float64Array(state.doubles)
    // Both layouts are runs of `capacity` elements a column, so each old run moves to the start of its wider one.
    for (let run = 0; run < oldIntegers.length / old.capacity; run++) {
      const wide = run >= INTEGER_COLUMNS && run < INTEGER_COLUMNS + ADAPTERS_PER_ENDPOINT
      const from = run * old.capacity
      // The adapters are one wide column of ADAPTERS_PER_ENDPOINT elements a slot.
      const to = wide ? INTEGER_COLUMNS * capacity + (run - INTEGER_COLUMNS) * old.capacity : run * capacity
      integers.set(oldIntegers.subarray(from, from + old.capacity), to)
    }
    for (let column = 0; column < DOUBLE_COLUMNS; column++) {
      doubles.set(oldDoubles.subarray(column * old.capacity, (column + 1) * old.capacity), column * capacity)
    }
    this.#map(state)
  }

  #map(state: EndpointTableState): void {
    this.#state = state
    this.capacity = state.capacity
    const { capacity, threads } = state
    const integers = new Int32Array(state.integers)
    const doubles = new Float64Array(state.doubles)
    const column = (index: number) => integers.subarray(index * capacity, (index + 1) * capacity)
    this.endpointState = column(0)
    this.generation = column(1)
    this.waiting = column(2)
    this.running = column(3)
    this.blockSize = column(4)
    this.blockCount = column(5)
    this.maxLora = column(6)
    this.runningAdapters = column(7)
    this.waitingAdapters = column(8)
    this.failures = column(9)
    const counters = (INTEGER_COLUMNS + ADAPTERS_PER_ENDPOINT) * capacity
    this.adapters = integers.subarray(INTEGER_COLUMNS * capacity, counters)
    const counter = (index: number) =>
      integers.subarray(counters + index * threads * capacity, counters + (index + 1) * threads * capacity)
    this.#decided = counter(0)
    this.#released = counter(1)
    this.#observed = counter(2)
    this.#begun = counter(3)
    this.kvUsage = doubles.subarray(0, capacity)
    this.scrapedAt = doubles.subarray(capacity, 2 * capacity)
    const live = new Int32Array(capacity)
    live.set(this.live.subarray(0, this.liveCount))
    this.live = live
  }
}
