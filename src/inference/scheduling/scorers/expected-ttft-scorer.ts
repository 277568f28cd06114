import { ADAPTERS_PER_ENDPOINT, type EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import { RecentAdapters } from '../recent-adapters.ts'
import type { Scorer } from '../scorer.ts'
import { ServiceEstimates } from '../service-estimates.ts'

/** Bytes of a prompt per token, as everybody estimates. */
const BYTES_PER_TOKEN = 4
/** Prefill of an uncached token, ms: a mid-sized model on a current GPU. Others scale all prefills alike. */
const PREFILL_MS_PER_TOKEN = 0.1
/** Every prefill: a step of the engine. */
const PREFILL_BASE_MS = 15
/** What each other request costs in a batch with room: longer steps, and the chance of becoming the one that waits. */
const SHARE_MS = 20
const ADAPTER_LOAD_MS = 250
/** How long decided prefills count for the share of time in which endpoints prefill, ms. */
const WORK_MEMORY_MS = 10_000
/** A millisecond of prefill costs this much more than one when endpoints do nothing else, … */
const BUSY_PRICE = 12
/** … and never more than this: a burst of distinct long prompts must not glue anything. */
const MAX_PRICE = 6
/** Distance from the best at which an endpoint scores one half, ms. */
const HALF_MS = 100

/**
 * Expected time to first token (design: peers-measured.md, "Placement, measured"): one sum in milliseconds instead of a weighted sum of
 * unlike shares, so that affinity and load are weighed by what they cost.
 *
 *     time = turns of the queue + prefills decided before + own uncached prefill × price + adapter load + a little per request in the batch
 *
 * - *queue*: requests beyond the batch's size, each for a turn of the batch (time in the batch ÷ its size, both learned from scrapes:
 *   ../service-estimates.ts). Decisions that no scrape has seen count, so that a burst inside one interval spreads.
 * - *prefills decided before*: a bucket per endpoint that every decision fills with its uncached prefill and time empties. Those of
 *   other threads are counted at the mean of our own.
 * - *price*: 1 in a calm pool. Where replicas spend much of their time with prefills, those who come next wait for a needless one as well,
 *   so that it costs more: what keeps conversations where they are under load.
 * - *adapter*: nothing where it runs or was sent lately, a load elsewhere; twice where it would throw out another one.
 *
 * A hot prefix so leaves its replica as soon as waiting there costs more than the prefill that it saves, and no earlier. The score is
 * `100 ms / (100 ms + distance from the least time)`. Budget: 0.1 µs a candidate.
 */
export function expectedTtftScorer(): Scorer {
  return new ExpectedTtft()
}

class ExpectedTtft implements Scorer {
  readonly type = 'expected-ttft-scorer'
  readonly #service = new ServiceEstimates()
  readonly #adapters = new RecentAdapters()
  /** Prefill decided and not done, ms, as of `#at`. */
  #backlog = new Float64Array(0)
  #at = new Float64Array(0)
  /** Decisions of all threads that the backlog has. */
  #counted = new Int32Array(0)
  #generation = new Int32Array(0)
  #meanPrefill = PREFILL_BASE_MS
  /** Prefill decided in about the last `WORK_MEMORY_MS`, ms, as of `#workAt`. */
  #work = 0
  #workAt = 0

  score(candidates: Candidates, table: EndpointTable, out: Float64Array): void {
    if (this.#at.length < table.capacity) this.#reserve(table.capacity)
    const { count, slots, nowMs } = candidates
    for (let i = 0; i < count; i++) {
      this.#service.observe(table, slots[i]!)
      this.#drain(table, slots[i]!, nowMs)
    }
    const price = this.#priceOfPrefill(count, nowMs)
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!
      const time =
        this.#queue(candidates, i) +
        this.#backlog[slot]! +
        price * prefill(candidates, i) +
        (candidates.adapter === 0 ? 0 : this.#adapterLoad(candidates.adapter, table, slot))
      out[i] = time
      if (time < least) least = time
    }
    for (let i = 0; i < count; i++) out[i] = HALF_MS / (HALF_MS + out[i]! - least)
  }

  chosen(candidates: Candidates, table: EndpointTable, i: number): void {
    const slot = candidates.slots[i]!
    const own = prefill(candidates, i)
    this.#backlog[slot]! += own
    this.#counted[slot]! += 1
    this.#work += own
    this.#meanPrefill += (own - this.#meanPrefill) / 32
    if (candidates.adapter !== 0) this.#adapters.use(slot, table.generation[slot]!, candidates.adapter)
  }

  #queue({ slots, waiting, running, unseen }: Candidates, i: number): number {
    const slot = slots[i]!
    const load = waiting[i]! + running[i]! + unseen[i]!
    const share = load * SHARE_MS
    const service = this.#service
    const full = service.full(slot)
    const batch = full ? Math.max(1, running[i]!) : service.batch
    const ahead = full ? waiting[i]! + unseen[i]! + 1 : load + 1 - batch
    return ahead <= 0 || batch === Number.POSITIVE_INFINITY ? share : share + (ahead * service.residence(slot)) / batch
  }

  /** What a millisecond of own prefill is worth: others wait for it too, the more so the busier the endpoints are with prefills. */
  #priceOfPrefill(count: number, nowMs: number): number {
    const passed = Math.max(0, nowMs - this.#workAt)
    if (passed > 0) {
      this.#work *= Math.max(0, 1 - passed / WORK_MEMORY_MS)
      this.#workAt = nowMs
    }
    return Math.min(MAX_PRICE, 1 + (BUSY_PRICE * this.#work) / (count * WORK_MEMORY_MS))
  }

  /** Brings the backlog to the present, with what other threads decided in between. */
  #drain(table: EndpointTable, slot: number, nowMs: number): void {
    const decided = table.counters.decided(slot)
    if (this.#generation[slot] !== table.generation[slot]) {
      this.#generation[slot] = table.generation[slot]!
      this.#backlog[slot] = 0
      this.#counted[slot] = decided
    }
    const others = Math.max(0, (decided - this.#counted[slot]!) | 0)
    this.#counted[slot] = decided
    const left = this.#backlog[slot]! - Math.max(0, nowMs - this.#at[slot]!)
    this.#work += others * this.#meanPrefill
    this.#backlog[slot] = Math.max(0, left) + others * this.#meanPrefill
    this.#at[slot] = nowMs
  }

  #adapterLoad(adapter: number, table: EndpointTable, slot: number): number {
    // A replica without places for adapters: the model is a base model that it has not listed yet.
    if (table.maxLora[slot] === 0) return 0
    const running = table.runningAdapters[slot]!
    const start = slot * ADAPTERS_PER_ENDPOINT
    for (let at = 0; at < running; at++) if (table.adapters[start + at] === adapter) return 0
    const generation = table.generation[slot]!
    const room = table.maxLora[slot]!
    const place = this.#adapters.place(slot, generation, adapter)
    if (place >= 0 && place < room) return 0
    // A running adapter cannot be thrown out: it has to become idle first.
    if (running >= room) return 2 * ADAPTER_LOAD_MS + this.#service.residence(slot)
    return this.#adapters.count(slot, generation, room) < room ? ADAPTER_LOAD_MS : 2 * ADAPTER_LOAD_MS
  }

  #reserve(capacity: number): void {
    this.#service.reserve(capacity)
    this.#adapters.reserve(capacity)
    const backlog = new Float64Array(capacity)
    const at = new Float64Array(capacity)
    const counted = new Int32Array(capacity)
    const generation = new Int32Array(capacity).fill(-1)
    backlog.set(this.#backlog)
    at.set(this.#at)
    counted.set(this.#counted)
    generation.set(this.#generation)
    this.#backlog = backlog
    this.#at = at
    this.#counted = counted
    this.#generation = generation
  }
}

function prefill({ promptBytes, prefix }: Candidates, i: number): number {
  return PREFILL_BASE_MS + (promptBytes / BYTES_PER_TOKEN) * (1 - prefix[i]!) * PREFILL_MS_PER_TOKEN
}
