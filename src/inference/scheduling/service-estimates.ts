/**
 * What a thread learns of replicas from two scrapes after another: how many requests a batch takes, and how long a request stays in it.
 * Both come from what every engine shows (requests waiting and running) and from our own count of decisions, by Little's law:
 * time in the batch = mean batch size ÷ completions per time.
 *
 * Scrapes are looked at when somebody picks; those in between are missed, which matters only to pools that nobody loads.
 *
 * Requests of other pickers that send to the same replicas come and go at the same rate, so that they hide from the completions but not
 * from the batch: times are then too long, by the same factor for each replica.
 */
import type { EndpointTable } from '../endpoint-table.ts'

/** Time in the batch before anything is learned, ms, and how many completions it counts for. */
const PRIOR_MS = 1500
const PRIOR_COMPLETIONS = 4
/** What was learned longer ago than this fades, ms. */
const MEMORY_MS = 10_000
/** Scrapes further apart say nothing of the time between them, ms. */
const LONGEST_GAP_MS = 2000
/** A queue that lasts so long waits for room in the batch, ms. */
const FULL_AFTER_MS = 500

export class ServiceEstimates {
  /** The largest full batch of any replica; 0 = none was full yet. */
  #largestBatch = 0
  #scrapedAt = new Float64Array(0)
  /** Completions since ever, as far as they are known. */
  #completed = new Float64Array(0)
  /** Request-milliseconds in the batch, and completions, of about the last `MEMORY_MS`. */
  #occupied = new Float64Array(0)
  #completions = new Float64Array(0)
  /** First of the scrapes without a break that showed a queue, 0 = the last one showed none. */
  #waitingSince = new Float64Array(0)
  #full = new Float64Array(0)
  #generation = new Int32Array(0)

  reserve(capacity: number): void {
    if (this.#full.length >= capacity) return
    this.#scrapedAt = grown(this.#scrapedAt, capacity)
    this.#completed = grown(this.#completed, capacity)
    this.#occupied = grown(this.#occupied, capacity)
    this.#completions = grown(this.#completions, capacity)
    this.#waitingSince = grown(this.#waitingSince, capacity)
    this.#full = grown(this.#full, capacity)
    const generation = new Int32Array(capacity)
    generation.set(this.#generation)
    this.#generation = generation
  }

  /** Learns from the slot's last scrape, when it is a new one. */
  observe(table: EndpointTable, slot: number): void {
    const at = table.scrapedAt[slot]!
    const before = this.#scrapedAt[slot]!
    if (at === before) return
    const running = table.running[slot]!
    const waiting = table.waiting[slot]!
    this.#scrapedAt[slot] = at
    const completed = table.observed[slot]! - waiting - running
    const since = completed - this.#completed[slot]!
    this.#completed[slot] = completed
    if (this.#generation[slot] !== table.generation[slot]) {
      this.#generation[slot] = table.generation[slot]!
      this.#occupied[slot] = this.#completions[slot] = this.#waitingSince[slot] = 0
      return
    }
    // Requests wait for the end of a step too, which may be a long prefill: only a queue that lasts tells of a full batch.
    if (waiting === 0) this.#waitingSince[slot] = 0
    else if (this.#waitingSince[slot] === 0) this.#waitingSince[slot] = at
    this.#full[slot] = waiting > 0 && at - this.#waitingSince[slot]! >= FULL_AFTER_MS ? 1 : 0
    if (this.#full[slot] === 1 && running > this.#largestBatch) this.#largestBatch = running
    const gap = at - before
    if (gap <= 0 || gap > LONGEST_GAP_MS) return
    const keep = Math.max(0, 1 - gap / MEMORY_MS)
    this.#occupied[slot] = this.#occupied[slot]! * keep + running * gap
    // Less than nothing: a request that was counted is on its way; it comes with a later scrape.
    this.#completions[slot] = this.#completions[slot]! * keep + since
  }

  /** Requests wait for room in the replica's batch, as its last scrape has it. */
  full(slot: number): boolean {
    return this.#full[slot] === 1
  }

  /**
   * Requests that a replica runs at once: the same for all, as a queue may last for other reasons than a full batch, and who had one would
   * look smaller than its peers. Infinite as long as no replica was full.
   */
  get batch(): number {
    return this.#largestBatch === 0 ? Number.POSITIVE_INFINITY : this.#largestBatch
  }

  /** Time that a request spends in the replica's batch, ms. */
  residence(slot: number): number {
    const completions = Math.max(0, this.#completions[slot]!) + PRIOR_COMPLETIONS
    return (this.#occupied[slot]! + PRIOR_MS * PRIOR_COMPLETIONS) / completions
  }
}

function grown(values: Float64Array<ArrayBuffer>, capacity: number): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(capacity)
  larger.set(values)
  return larger
}
