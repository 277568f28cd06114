/**
 * Endpoints of one pool as a struct of arrays in SharedArrayBuffers, as one thread sees them: the main thread writes what replicas say of
 * themselves (./endpoint-slots.ts), every thread counts its own decisions, and all read all. Addresses and labels are control data
 * and come with the plan.
 *
 * A *slot* is stable while its endpoint lives. A freed slot gets a new *generation*, so that a late `release` of the previous
 * tenant changes nothing, and gets no new tenant before every thread has adopted a plan without the old one: so a thread
 * with an older plan never counts on a new tenant's slot.
 *
 * Counters: `decided` rises at each pick, `released` when a request is over, `observed` is `decided` as it was when the last
 * *successful* scrape began. Decisions since then are not yet in the replica's own numbers, so that `unseen = decided − observed` is
 * added to them: this is what spreads a burst inside one scrape interval.
 */
import { EndpointCounters } from './endpoint-counters.ts'
import type { SessionTokens } from './session-tokens.ts'
import { EndpointEstimates } from './endpoint-estimates.ts'
import {
  ADAPTERS_PER_ENDPOINT,
  ATTRIBUTES_PER_ENDPOINT,
  DOUBLE_COLUMNS,
  type EndpointTableState,
  INTEGER_COLUMNS,
} from './endpoint-table-state.ts'

import { InFlightRequests } from './in-flight-requests.ts'

export { ADAPTERS_PER_ENDPOINT, ATTRIBUTES_PER_ENDPOINT } from './endpoint-table-state.ts'

export const EndpointState = {
  /** The slot is unused. */
  FREE: 0,
  /** May be picked. */
  READY: 1,
  /** Its scrapes fail in a way that requests would fail too: not picked until one works. */
  UNREACHABLE: 2,
} as const

/** Bits of `missing`: what an endpoint should say of its load, but doesn't, or says as what is no number. */
export const MissingSignal = { WAITING: 1, RUNNING: 2, KV_USAGE: 4 } as const

/** What lowers in-flight counts; exactly one of them may, or requests would be counted down twice. */
export type ReleaseBy = 'response' | 'access-log' | 'scrape'

export interface EndpointTableOptions {
  readonly releaseBy: ReleaseBy
  /** Column of this thread; 0 = the main thread. */
  readonly thread: number
}

/** One endpoint's place in the table. Plain data. */
export interface SlotShare {
  readonly slot: number
  readonly generation: number
  /** `ip:port` */
  readonly address: string
  readonly labels: Readonly<Record<string, string>>
}

export class EndpointTable {
  readonly releaseBy: ReleaseBy
  readonly counters: EndpointCounters
  /** Raised and lowered by `decide` and `release`. */
  readonly requests: InFlightRequests
  /** What the main thread has learned of the replicas. */
  estimates!: EndpointEstimates
  /** Number of slots. */
  capacity = 0
  /** Live slots, dense, in no order: `live[0, liveCount)`. */
  live = new Int32Array(0)
  liveCount = 0
  /** Generations of the live slots as this thread's plan has them: what a pick must remember to release. */
  generation = new Int32Array(0)

  // Columns, indexed by slot. Written by the main thread only.
  endpointState!: Int32Array
  /** Generations as they are now. */
  currentGeneration!: Int32Array
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
  /** Sum of `decided` when the last good scrape began. */
  observed!: Int32Array
  /** Bits of `MissingSignal`, as of the last good scrape. */
  missing!: Int32Array
  /** 0 … 1 */
  kvUsage!: Float64Array
  /** Start of the last good scrape, Unix ms; 0 = never. */
  scrapedAt!: Float64Array
  /** How much later than usual the next scrape is due, ms: replicas that do nothing are asked less often (`age`). */
  slack!: Float64Array
  /** `ATTRIBUTES_PER_ENDPOINT` values for each slot; NaN = not known. Which is which: `attributeIndex`. */
  attributes!: Float64Array
  /** What the pool's plan calls the attributes. */
  attributeNames: readonly string[] = []
  /** Names of the endpoints for clients, where the pool's plan has a use for them. */
  sessionTokens: SessionTokens | undefined
  /** One element, raised by any thread: endpoints' models should be read soon. */
  relist!: Int32Array

  #state!: EndpointTableState
  readonly #slots = new Map<string, number>()
  #addresses: (string | undefined)[] = []
  #labels: (Readonly<Record<string, string>> | undefined)[] = []

  /** @throws RangeError when the state has no column for the thread */
  constructor(options: EndpointTableOptions, state: EndpointTableState, slots: readonly SlotShare[]) {
    this.releaseBy = options.releaseBy
    if (options.thread < 0 || options.thread >= state.threads)
      throw new RangeError(`no column for thread ${options.thread}`)
    this.counters = new EndpointCounters(options.thread)
    this.requests = new InFlightRequests(state.requests, options.thread)
    this.adopt(state, slots)
  }

  get state(): EndpointTableState {
    return this.#state
  }

  /** Goes over to these endpoints, and to this memory. */
  adopt(state: EndpointTableState, slots: readonly SlotShare[]): void {
    if (state !== this.#state) this.#map(state)
    this.#slots.clear()
    this.#addresses = []
    this.#labels = []
    this.liveCount = 0
    for (const { slot, generation, address, labels } of slots) {
      this.#slots.set(address, slot)
      this.#addresses[slot] = address
      this.#labels[slot] = labels
      this.generation[slot] = generation
      this.live[this.liveCount++] = slot
    }
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

  /** Place of an attribute among those of an endpoint; −1: nothing tells of it. Ask again when `adopt` is called. */
  attributeIndex(name: string): number {
    return this.attributeNames.indexOf(name)
  }

  /** `index` as of `attributeIndex`; NaN = not known. */
  attribute(slot: number, index: number): number {
    return index < 0 ? Number.NaN : this.attributes[slot * ATTRIBUTES_PER_ENDPOINT + index]!
  }

  /**
   * How old what is known of an endpoint's load is, ms; infinite when nothing is. A replica that did nothing, and to which nothing was
   * sent, is asked less often: the age counts from when its usual scrape would have been due.
   */
  age(slot: number, nowMs: number): number {
    const at = this.scrapedAt[slot]!
    return at === 0 ? Number.POSITIVE_INFINITY : Math.max(0, nowMs - at - this.slack[slot]!)
  }

  /** Counts a request that was sent to this endpoint, and its tokens where they are counted. */
  decide(slot: number, tokens = 0): void {
    this.requests.begin()
    this.place(slot, tokens)
  }

  /** The endpoint has a part in a request that is counted already. */
  place(slot: number, tokens = 0): void {
    this.counters.decide(slot)
    if (tokens !== 0) this.counters.addTokens(slot, tokens)
  }

  /** Some tokens of a request that is not over are not in flight any more. */
  releaseTokens(slot: number, generation: number, tokens: number): void {
    if (this.releaseBy === 'scrape' || this.currentGeneration[slot] !== generation) return
    if (this.counters.own(slot) > 0) this.counters.addTokens(slot, -tokens)
  }

  /**
   * Counts down a request that is over, with its tokens as `decide` had them; absent: not known (./endpoint-counters.ts). Without effect
   * when releases come from scrapes, and on an endpoint that has gone.
   */
  release(slot: number, generation: number, tokens?: number): void {
    if (this.releaseBy === 'scrape') return
    // Where nothing is counted the release comes twice, or the count was settled.
    if (this.currentGeneration[slot] === generation && this.counters.own(slot) <= 0) return
    this.requests.end()
    this.unplace(slot, generation, tokens)
  }

  /** The endpoint's part in a request is over. */
  unplace(slot: number, generation: number, tokens?: number): void {
    if (this.releaseBy === 'scrape' || this.currentGeneration[slot] !== generation) return
    // A count that was settled already, or a release that comes twice: below zero it would hide the next requests.
    if (this.counters.own(slot) <= 0) return
    this.counters.release(slot, 1, tokens)
  }

  /** As `release`, but at the endpoint with the next scrape that can see the request: its own end will not be told. */
  releaseOnceSeen(slot: number, generation: number): void {
    if (this.releaseBy !== 'scrape') this.requests.end()
    this.unplaceOnceSeen(slot, generation)
  }

  /** As `unplace`, but with the next scrape that can see it. */
  unplaceOnceSeen(slot: number, generation: number): void {
    if (this.releaseBy === 'scrape' || this.currentGeneration[slot] !== generation) return
    this.counters.end(slot)
  }

  /** Requests decided and not known to be over. */
  inFlight(slot: number): number {
    return Math.max(0, this.counters.outstanding(slot))
  }

  /** Requests decided that the last good scrape cannot have seen, without those that are over already. */
  unseen(slot: number): number {
    const unseen = (this.counters.decided(slot) - this.observed[slot]!) | 0
    return unseen <= 0 ? 0 : Math.min(unseen, this.inFlight(slot))
  }

  #map(state: EndpointTableState): void {
    this.#state = state
    const { capacity } = state
    const integers = new Int32Array(state.integers)
    const doubles = new Float64Array(state.doubles)
    const column = (index: number) => integers.subarray(index * capacity, (index + 1) * capacity)
    this.endpointState = column(0)
    this.currentGeneration = column(1)
    this.waiting = column(2)
    this.running = column(3)
    this.blockSize = column(4)
    this.blockCount = column(5)
    this.maxLora = column(6)
    this.runningAdapters = column(7)
    this.waitingAdapters = column(8)
    this.failures = column(9)
    this.observed = column(10)
    this.missing = column(11)
    const adapters = INTEGER_COLUMNS * capacity
    const end = adapters + ADAPTERS_PER_ENDPOINT * capacity
    this.adapters = integers.subarray(adapters, end)
    this.relist = integers.subarray(end)
    this.kvUsage = doubles.subarray(0, capacity)
    this.scrapedAt = doubles.subarray(capacity, 2 * capacity)
    this.slack = doubles.subarray(2 * capacity, 3 * capacity)
    this.attributes = doubles.subarray(DOUBLE_COLUMNS * capacity)
    this.counters.adopt(state.counters, state.peers ? state.threads : -1)
    this.estimates = new EndpointEstimates(state.estimates, capacity)
    if (capacity === this.capacity) return
    this.capacity = capacity
    this.live = new Int32Array(capacity)
    const generation = new Int32Array(capacity)
    generation.set(this.generation)
    this.generation = generation
  }
}
