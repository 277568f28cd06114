/**
 * What the threads of a pool's flow control tell each other, in shared memory. Each thread has its own queues; caps, and the rule that
 * nobody goes before a higher priority, hold over all of them.
 *
 * - One word that rises with every event that may let something go on: threads that have something waiting sleep on it.
 * - Per thread the highest priority that waits there.
 * - Per thread and band what waits (requests, bytes) and what became of requests, with how long they waited. A thread alone writes
 *   its own; the main thread, which has a column of its own, writes those of a thread that has died.
 *
 * Caps are looked at before they are counted: threads that take at the same time may pass one by a request each.
 */
import { FLOW_OUTCOMES, FlowOutcome } from './flow-outcome.ts'

/** Bands of a pool. */
export const MAX_BANDS = 64

/** Upper ends of the histogram of waits, seconds. */
export const WAIT_BUCKETS = [
  0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const

const OUTCOMES = FLOW_OUTCOMES.length
/** Waits by bucket and beyond the last, their sum. */
const HISTOGRAM = WAIT_BUCKETS.length + 2
const REQUESTS = 0
const BYTES = 1
const COUNTS = 2
/** Of those that were sent on, and of the others. */
const SENT = COUNTS + OUTCOMES
const DROPPED = SENT + HISTOGRAM
const BAND = DROPPED + HISTOGRAM
const ROW = MAX_BANDS * BAND

/** Words of the header: the event, then the threads' priorities, then how many wait there. */
const HEADER = 1
const NOTHING_WAITS = -0x8000_0000

/** Plain data. */
export interface FlowShare {
  readonly memory: SharedArrayBuffer
  readonly threads: number
  /** Place of each priority's band; a place is not used for another one. */
  readonly places: readonly (readonly [priority: number, place: number])[]
  /** Of ./revocation-memory.ts, and how long after revocations the pool's saturation shows them, ms. Absent: the plan has no eviction. */
  readonly revocations?: { readonly memory: SharedArrayBuffer; readonly graceMs: number }
}

export function createFlowMemory(threads: number): SharedArrayBuffer {
  const words = Math.ceil((HEADER + 2 * threads) / 2) * 2
  const memory = new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT + threads * ROW * 8)
  new Int32Array(memory, HEADER * 4, threads).fill(NOTHING_WAITS)
  return memory
}

/** What became of the requests of a band, of all threads together. */
export interface BandFigures {
  readonly requests: number
  readonly bytes: number
  /** By `FlowOutcome`. */
  readonly outcomes: readonly number[]
  readonly sent: WaitFigures
  readonly dropped: WaitFigures
}

export interface WaitFigures {
  /** Requests by bucket (not cumulated), the last one beyond all. */
  readonly buckets: readonly number[]
  readonly sumSeconds: number
}

export class FlowMemory {
  /** Element 0 is the word that rises. */
  readonly events: Int32Array
  readonly #priorities: Int32Array
  readonly #waiting: Int32Array
  readonly #cells: Float64Array
  readonly #threads: number
  readonly #thread: number

  constructor({ memory, threads }: Pick<FlowShare, 'memory' | 'threads'>, thread: number) {
    const words = Math.ceil((HEADER + 2 * threads) / 2) * 2
    this.events = new Int32Array(memory, 0, HEADER)
    this.#priorities = new Int32Array(memory, HEADER * 4, threads)
    this.#waiting = new Int32Array(memory, (HEADER + threads) * 4, threads)
    this.#cells = new Float64Array(memory, words * 4)
    this.#threads = threads
    this.#thread = thread
  }

  /**
   * Something has changed that may let requests go on: wakes the threads that wait for it. Costs little where nothing waits: a thread
   * publishes what waits before it looks whether that may go on.
   */
  signal(): void {
    if (!this.anyWaits) return
    Atomics.add(this.events, 0, 1)
    Atomics.notify(this.events, 0)
  }

  get anyWaits(): boolean {
    for (let thread = 0; thread < this.#threads; thread++) if (Atomics.load(this.#waiting, thread) !== 0) return true
    return false
  }

  /** What waits at this thread: how many requests, and the highest of their priorities. True when others may have waited for it. */
  publish(count: number, highest: number): boolean {
    const published = count === 0 ? NOTHING_WAITS : highest
    Atomics.store(this.#waiting, this.#thread, count)
    const before = Atomics.exchange(this.#priorities, this.#thread, published)
    return before > published
  }

  /** Whether a request of a higher priority waits at another thread. */
  higherElsewhere(priority: number): boolean {
    for (let thread = 0; thread < this.#threads; thread++)
      if (thread !== this.#thread && Atomics.load(this.#priorities, thread) > priority) return true
    return false
  }

  /** The same of an equal or higher one. */
  waitsElsewhere(priority: number): boolean {
    return this.higherElsewhere(Math.max(priority - 1, NOTHING_WAITS))
  }

  /** Requests that wait in a band, at all threads. */
  requests(place: number): number {
    return this.#sum(place, REQUESTS)
  }

  bytes(place: number): number {
    return this.#sum(place, BYTES)
  }

  /** A request begins to wait, or has ceased to (−1). */
  count(place: number, requests: number, bytes: number): void {
    const at = this.#thread * ROW + place * BAND
    this.#cells[at + REQUESTS]! += requests
    this.#cells[at + BYTES]! += bytes
  }

  /** What became of a request, and how long it waited. */
  ended(place: number, outcome: FlowOutcome, waitedMs: number): void {
    const cells = this.#cells
    const band = this.#thread * ROW + place * BAND
    cells[band + COUNTS + outcome]!++
    const histogram = band + (outcome === FlowOutcome.DISPATCHED ? SENT : DROPPED)
    const seconds = waitedMs / 1000
    let bucket = 0
    while (bucket < WAIT_BUCKETS.length && seconds > WAIT_BUCKETS[bucket]!) bucket++
    cells[histogram + bucket]!++
    cells[histogram + HISTOGRAM - 1]! += seconds
  }

  /** Main thread: a thread hangs. Others need not wait for what waits there. */
  ignore(thread: number): void {
    Atomics.store(this.#priorities, thread, NOTHING_WAITS)
    this.signal()
  }

  /** Main thread: a thread has died. */
  forget(thread: number): void {
    Atomics.store(this.#priorities, thread, NOTHING_WAITS)
    Atomics.store(this.#waiting, thread, 0)
    for (let at = thread * ROW; at < (thread + 1) * ROW; at += BAND) this.#cells[at] = this.#cells[at + BYTES] = 0
    this.signal()
  }

  figures(place: number): BandFigures {
    const histogram = (from: number): WaitFigures => ({
      buckets: Array.from({ length: HISTOGRAM - 1 }, (_, i) => this.#sum(place, from + i)),
      sumSeconds: this.#sum(place, from + HISTOGRAM - 1),
    })
    return {
      requests: this.requests(place),
      bytes: this.bytes(place),
      outcomes: FLOW_OUTCOMES.map((_, outcome) => this.#sum(place, COUNTS + outcome)),
      sent: histogram(SENT),
      dropped: histogram(DROPPED),
    }
  }

  #sum(place: number, cell: number): number {
    let sum = 0
    for (let at = place * BAND + cell; at < this.#cells.length; at += ROW) sum += this.#cells[at]!
    return sum
  }
}
