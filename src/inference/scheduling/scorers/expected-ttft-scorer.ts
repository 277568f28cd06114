import { ADAPTERS_PER_ENDPOINT, type EndpointTable } from '../../endpoint-table.ts'
import { PREFILL_BASE_TOKENS } from '../../prefill-samples.ts'
import type { Candidates } from '../candidates.ts'
import { PrefillBacklog } from '../prefill-backlog.ts'
import { RecentAdapters } from '../recent-adapters.ts'
import type { Scorer } from '../scorer.ts'

/** Bytes of a prompt per token, as everybody estimates. */
const BYTES_PER_TOKEN = 4
/** What each other request costs in a batch with room, as tokens of prefill: longer steps, and the chance of becoming the one that waits. */
const SHARE_TOKENS = 200
/** Adapters grow with their model, as prefills do: a load takes as long as so many tokens, and ms at the least. */
const ADAPTER_LOAD_TOKENS = 2500
const ADAPTER_LOAD_MS = 250
/** Decided prefills count for as long as so many tokens take in the share of time in which endpoints prefill; ms at the least and most. */
const WORK_MEMORY_TOKENS = 100_000
const SHORTEST_MEMORY_MS = 4000
const LONGEST_MEMORY_MS = 120_000
/** A millisecond of prefill costs this much more than one when endpoints do nothing else, … */
const BUSY_PRICE = 12
/** … and never more than this: a burst of distinct long prompts must not glue anything. */
const MAX_PRICE = 6
/** In a calm pool a turn of the queue costs this much more than its time, as those who come next wait for it too … */
const CALM_TURN = 2
/** … and nothing more from this extra price of prefills on: then it is needless prefills that the next ones wait for. */
const CALM_UNTIL = 1.25
/** Distance from the best at which an endpoint scores one half, ms. */
const HALF_MS = 100

/**
 * Expected time to first token (docs/placement.md): one sum in milliseconds instead of a weighted sum of unlike shares, so that affinity
 * and load are weighed by what they cost.
 *
 *     time = turns of the queue × their price + prefills decided before + own uncached prefill × price + adapter load + a little per request in the batch
 *
 * - *prefill*: tokens that the cache does not have, at the replica's own rate, which is learned (../../prefill-rates.ts).
 * - *queue*: requests beyond the batch's size, each for a turn of the batch (time in the batch ÷ its size, both learned:
 *   ../../service-estimates.ts). Decisions that no scrape has seen count, so that a burst inside one interval spreads.
 * - *prefills decided before*: a bucket per endpoint that every decision of any thread fills with its uncached prefill and time empties.
 * - *price*: 1 in a calm pool. Where replicas spend much of their time with prefills, those who come next wait for a needless one as well,
 *   so that it costs more: what keeps conversations where they are under load.
 * - *price of turns*: 3 in a calm pool, where a hot prefix is worth a second place long before its prefill takes as long as the queue; 1 where
 *   prefills have a price, and for adapters, as there it is loads that the next ones would wait for.
 * - *adapter*: nothing where it runs or was sent lately, a load elsewhere; twice where it would throw out another one.
 *
 * A hot prefix so leaves its replica as soon as waiting there costs more than the prefill that it saves, and no earlier. The score is
 * `100 ms / (100 ms + distance from the least time)`. Budget: 0.1 µs a candidate.
 */
export function expectedTtftScorer(): Scorer {
  return new ExpectedTtft()
}

/** The terms of the sum, and the reason of a pick for which one spoke most. */
const WHY = ['shorter-queue', 'less-prefill-ahead', 'cached-prefix', 'adapter-loaded'].map(
  term => `expected-ttft/${term}`,
)
const TERMS = WHY.length

class ExpectedTtft implements Scorer {
  readonly type = 'expected-ttft-scorer'
  readonly #adapters = new RecentAdapters()
  readonly #backlog = new PrefillBacklog()
  /** Slots that there is memory for. */
  #capacity = 0
  /** Of the last `score`: the terms of each candidate, and their sums over all. */
  #terms = new Float64Array(0)
  readonly #sums = new Float64Array(TERMS)
  #count = 0

  sharedWords(capacity: number): number {
    return PrefillBacklog.words(capacity) + RecentAdapters.words(capacity)
  }

  adopt(table: EndpointTable): void {
    this.#capacity = table.capacity
    this.#terms = new Float64Array(TERMS * table.capacity)
  }

  attach(memory: Int32Array): void {
    const backlog = PrefillBacklog.words(this.#capacity)
    this.#backlog.attach(memory.subarray(0, backlog))
    this.#adapters.attach(memory.subarray(backlog))
  }

  grow(from: Int32Array, oldCapacity: number, to: Int32Array, capacity: number): void {
    const old = PrefillBacklog.words(oldCapacity)
    to.set(from.subarray(0, old))
    to.set(from.subarray(old), PrefillBacklog.words(capacity))
  }

  score(candidates: Candidates, table: EndpointTable, out: Float64Array): void {
    const { count, slots, nowMs } = candidates
    const rate = table.estimates.prefillMs[0]!
    const memory = Math.min(LONGEST_MEMORY_MS, Math.max(SHORTEST_MEMORY_MS, WORK_MEMORY_TOKENS * rate))
    // At the pool's rate: a fast replica must not seem the better for it where it is busy.
    const busy = Math.min(MAX_PRICE - 1, BUSY_PRICE * this.#backlog.share(count, nowMs, memory))
    const extra = rate * busy
    const turnPrice = candidates.adapter === 0 ? 1 + CALM_TURN * Math.max(0, 1 - busy / CALM_UNTIL) : 1
    const terms = this.#terms
    let least = Number.POSITIVE_INFINITY
    this.#count = count
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!
      const turns = (terms[TERMS * i] = queue(candidates, table, i, turnPrice))
      const ahead = (terms[TERMS * i + 1] = this.#backlog.ahead(slot, nowMs, candidates.underWay(i, table)))
      const own = tokensToPrefill(candidates, i) * (msPerToken(table.estimates, slot) + extra)
      terms[TERMS * i + 2] = own
      const load = candidates.adapter === 0 ? 0 : this.#adapterLoad(candidates.adapter, table, slot)
      terms[TERMS * i + 3] = load
      const time = turns + ahead + own + load
      out[i] = time
      if (time < least) least = time
    }
    for (let i = 0; i < count; i++) out[i] = HALF_MS / (HALF_MS + out[i]! - least)
  }

  why(candidate: number): string {
    const terms = this.#terms
    const sums = this.#sums.fill(0)
    for (let i = 0; i < TERMS * this.#count; i++) sums[i % TERMS]! += terms[i]!
    let best = 0
    let most = Number.NEGATIVE_INFINITY
    for (let t = 0; t < TERMS; t++) {
      const gain = sums[t]! / this.#count - terms[TERMS * candidate + t]!
      if (gain <= most) continue
      most = gain
      best = t
    }
    return WHY[best]!
  }

  chosen(candidates: Candidates, table: EndpointTable, i: number): void {
    const slot = candidates.slots[i]!
    const prefill = tokensToPrefill(candidates, i) * msPerToken(table.estimates, slot)
    this.#backlog.add(slot, prefill, candidates.nowMs, candidates.underWay(i, table))
    if (candidates.adapter !== 0) this.#adapters.use(slot, table.generation[slot]!, candidates.adapter)
  }

  sentElsewhere(table: EndpointTable, slot: number, uncachedBytes: number, nowMs: number): void {
    const tokens = PREFILL_BASE_TOKENS + uncachedBytes / BYTES_PER_TOKEN
    // Replicas tell their counts before their prompts, so that this one is among them.
    const before = Math.max(table.counters.outstanding(slot) - 1, table.waiting[slot]! + table.running[slot]!)
    this.#backlog.add(slot, tokens * msPerToken(table.estimates, slot), nowMs, before)
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
    const load = Math.max(ADAPTER_LOAD_MS, ADAPTER_LOAD_TOKENS * table.estimates.prefillMs[0]!)
    // A running adapter cannot be thrown out: it has to become idle first.
    if (running >= room) return 2 * load + table.estimates.residence[slot]!
    return this.#adapters.count(slot, generation, room) < room ? load : 2 * load
  }
}

function queue(
  { slots, waiting, running, unseen, inFlight }: Candidates,
  { estimates }: EndpointTable,
  i: number,
  turnPrice: number,
): number {
  const slot = slots[i]!
  // What was sent by way of a prefill elsewhere arrives long after the decision: then our own count knows more.
  const load = Math.max(waiting[i]! + running[i]! + unseen[i]!, inFlight[i]!)
  const share = load * SHARE_TOKENS * estimates.prefillMs[0]!
  const own = estimates.fullBatch[slot]!
  const batch = own > 0 ? Math.max(own, running[i]!) : estimates.largestBatch[0]!
  const ahead = load + 1 - batch
  // No replica was full yet: nobody knows where a batch ends.
  return ahead <= 0 || batch === 0 ? share : share + (turnPrice * ahead * estimates.residence[slot]!) / batch
}

function tokensToPrefill({ promptBytes, prefix }: Candidates, i: number): number {
  return PREFILL_BASE_TOKENS + (promptBytes / BYTES_PER_TOKEN) * (1 - prefix[i]!)
}

function msPerToken({ prefillMs, prefillFactor }: EndpointTable['estimates'], slot: number): number {
  return prefillMs[0]! * prefillFactor[slot]!
}
