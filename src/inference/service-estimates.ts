/**
 * What the main thread learns of replicas from two scrapes after another: how many requests a batch takes, and how long a request stays in
 * it. Both come from what every engine shows (requests waiting and running) and from our own count of decisions, by Little's law:
 * time in the batch = mean batch size ÷ completions per time. Threads that pick read it in `EndpointTable.estimates`.
 *
 * A replica's batch has the size that it had while a queue lasted, for as long as that is not long ago: replicas may be unlike. A queue may
 * last for other reasons, though, and who had one would look smaller than its peers for ever. So all others are taken to have the
 * largest that any had.
 *
 * Requests of other pickers that send to the same replicas come and go at the same rate, so that they hide from the completions but not
 * from the batch: times are then too long, by the same factor for each replica.
 */
import type { EndpointTable } from './endpoint-table.ts'

/** Time in the batch before anything is learned, ms, and how many completions it counts for. */
const PRIOR_MS = 1500
const PRIOR_COMPLETIONS = 4
/** What was learned longer ago than this fades, ms. */
const MEMORY_MS = 10_000
/** Scrapes further apart say nothing of the time between them, ms. */
const LONGEST_GAP_MS = 2000
/**
 * A queue that lasts for so many tokens of prefill waits for room in the batch: longer than the two full steps of an engine that a request
 * may wait for at most before it is let in (2,048 tokens each is usual). And ms at the least: a hiccup is no queue.
 */
const FULL_AFTER_TOKENS = 5000
const FULL_AFTER_MS = 500
/** How long the size of a replica's own full batch is remembered, ms: being wrong about it, for half a second, costs little once a minute. */
const FULL_MEMORY_MS = 60_000

interface Replica {
  scrapedAt: number
  /** Completions since ever, as far as they are known. */
  completed: number
  /** Request-milliseconds in the batch, and completions, of about the last `MEMORY_MS`. */
  occupied: number
  completions: number
  /** First of the scrapes without a break that showed a queue, 0 = the last one showed none. */
  waitingSince: number
  /** The last scrape that showed a full batch, 0 = never, and the most requests in one since it was first full. */
  fullAt: number
  fullBatch: number
}

export class ServiceEstimates {
  readonly #replicas: (Replica | undefined)[] = []

  /** The slot has a new tenant. */
  begin(table: EndpointTable, slot: number): void {
    this.#replicas[slot] = undefined
    table.estimates.fullBatch[slot] = 0
    table.estimates.residence[slot] = PRIOR_MS
  }

  /** Learns from the slot's last good scrape: call after each. */
  observe(table: EndpointTable, slot: number): void {
    const { estimates } = table
    const at = table.scrapedAt[slot]!
    const running = table.running[slot]!
    const waiting = table.waiting[slot]!
    const completed = table.observed[slot]! - waiting - running
    const replica = this.#replicas[slot]
    if (replica === undefined) {
      this.#replicas[slot] = {
        scrapedAt: at,
        completed,
        occupied: 0,
        completions: 0,
        waitingSince: waiting === 0 ? 0 : at,
        fullAt: 0,
        fullBatch: 0,
      }
      return
    }
    // Requests wait for the end of a step too, which may be a long prefill: only a queue that lasts tells of a full batch.
    if (waiting === 0) replica.waitingSince = 0
    else if (replica.waitingSince === 0) replica.waitingSince = at
    // Where every waiting request may be one whose adapter is not there, nobody waits for room in the batch.
    else if (waiting <= table.waitingAdapters[slot]!) replica.waitingSince = at
    const lasts = Math.max(FULL_AFTER_MS, FULL_AFTER_TOKENS * estimates.prefillMs[0]!)
    const full = waiting > 0 && at - replica.waitingSince >= lasts
    if (full) replica.fullAt = at
    else if (at - replica.fullAt > FULL_MEMORY_MS) replica.fullBatch = 0
    if (full || replica.fullBatch > 0) replica.fullBatch = Math.max(replica.fullBatch, running)
    // While a queue lasts it is what runs now that counts: a batch may be full for want of cache.
    estimates.fullBatch[slot] = full ? running : replica.fullBatch
    // Once any was full: whoever has more in its batch shows that batches are larger than was thought.
    if ((full || estimates.largestBatch[0]! > 0) && running > estimates.largestBatch[0]!)
      estimates.largestBatch[0] = running
    const gap = at - replica.scrapedAt
    const since = completed - replica.completed
    replica.scrapedAt = at
    replica.completed = completed
    if (gap <= 0 || gap > LONGEST_GAP_MS) return
    const keep = Math.max(0, 1 - gap / MEMORY_MS)
    replica.occupied = replica.occupied * keep + running * gap
    // Less than nothing: a request that was counted is on its way; it comes with a later scrape.
    replica.completions = replica.completions * keep + since
    const completions = Math.max(0, replica.completions) + PRIOR_COMPLETIONS
    estimates.residence[slot] = (replica.occupied + PRIOR_MS * PRIOR_COMPLETIONS) / completions
  }
}
