/**
 * What a token costs that is not the first, learned on the main thread: the time between two tokens of a request as a straight line over
 * the size of the batch that it is in, `base + perRequest × batch` ms for the whole pool, and for each replica a factor. Both
 * come from two counters of its page, the times between tokens and their number, and from the batch sizes of two scrapes.
 *
 * The line is a least-squares fit over about the last `MEMORY` tokens' worth of samples. It starts from two made-up samples of little
 * weight, so that it has a slope while all batches are of one size. A sample moves it as far as four times of what it expects, no further:
 * counters of one replica that lies do not set the price of all.
 */
import type { EndpointTable } from './endpoint-table.ts'
import type { ReplicaMetrics } from './replica-metrics.ts'
import { trustedDeviation } from './trusted-deviation.ts'

/** Batches and times of the made-up samples: a mid-sized model on a current GPU. */
const PRIOR = [
  { batch: 0, ms: 12 },
  { batch: 64, ms: 20 },
] as const
const PRIOR_WEIGHT = 0.25
/** A sample of so many tokens counts in full. */
const FULL_WEIGHT_TOKENS = 32
/** Samples that the line remembers. */
const MEMORY = 400
const MOST = 4
const FASTEST_MS = 0.01
const SLOWEST_MS = 10_000
/** Scrapes further apart say nothing of the batch between them, ms. */
const LONGEST_GAP_MS = 5000
/** Samples from which a replica's own factor counts, and by how much each moves it. */
const ENOUGH = 8
const STEP = 0.08
/** As of `trustedDeviation`. */
const NOISE = 0.1
const REAL = 0.25

interface Replica {
  scrapedAt: number
  running: number
  tokens: number
  seconds: number
  /** Mean of the logarithm of measured ÷ expected. */
  log: number
  learned: number
}

export class DecodeRates {
  // Sums over samples: weights, batches, times, products.
  #w = 0
  #x = 0
  #y = 0
  #xx = 0
  #xy = 0
  #learned = 0
  readonly #replicas: (Replica | undefined)[] = []

  constructor() {
    for (const { batch, ms } of PRIOR) this.#add(PRIOR_WEIGHT, batch, ms)
  }

  /** The slot has a new tenant. */
  begin(table: EndpointTable, slot: number): void {
    this.#replicas[slot] = undefined
    table.estimates.decodeFactor[slot] = 1
    this.#publish(table)
  }

  /** Learns from a good scrape of the slot that began at `now` (Unix ms). */
  observe(table: EndpointTable, slot: number, page: ReplicaMetrics, now: number): void {
    const { tokenGaps: tokens, tokenGapSeconds: seconds, running } = page
    const before = this.#replicas[slot]
    if (before === undefined) {
      this.#replicas[slot] = { scrapedAt: now, running, tokens, seconds, log: 0, learned: 0 }
      return
    }
    const count = tokens - before.tokens
    const time = (seconds - before.seconds) * 1000
    const batch = Math.max(1, (running + before.running) / 2)
    const gap = now - before.scrapedAt
    before.scrapedAt = now
    before.running = running
    before.tokens = tokens
    before.seconds = seconds
    if (!(count > 0 && time > 0 && gap > 0 && gap <= LONGEST_GAP_MS)) return
    const weight = Math.min(1, count / FULL_WEIGHT_TOKENS)
    const measured = Math.min(SLOWEST_MS, Math.max(FASTEST_MS, time / count))
    const expected = this.#at(batch)
    before.log += STEP * weight * (Math.log(measured / expected) - before.log)
    before.learned += weight
    this.#fade(weight)
    this.#add(weight, batch, Math.min(MOST * expected, Math.max(expected / MOST, measured)))
    this.#learned += weight
    this.#publish(table)
    table.estimates.decodeFactor[slot] = before.learned < ENOUGH ? 1 : Math.exp(deviation(before))
  }

  #publish({ estimates }: EndpointTable): void {
    const slope = this.#slope()
    estimates.decodePerRequestMs[0] = slope
    estimates.decodeBaseMs[0] = Math.max(FASTEST_MS, (this.#y - slope * this.#x) / this.#w)
    estimates.decodeLearned[0] = this.#learned
  }

  #at(batch: number): number {
    const slope = this.#slope()
    return Math.max(FASTEST_MS, (this.#y - slope * this.#x) / this.#w + slope * batch)
  }

  /** A larger batch is never faster. */
  #slope(): number {
    const spread = this.#w * this.#xx - this.#x * this.#x
    return spread <= 0 ? 0 : Math.max(0, (this.#w * this.#xy - this.#x * this.#y) / spread)
  }

  #add(weight: number, batch: number, ms: number): void {
    this.#w += weight
    this.#x += weight * batch
    this.#y += weight * ms
    this.#xx += weight * batch * batch
    this.#xy += weight * batch * ms
  }

  #fade(weight: number): void {
    const kept = 1 - weight / MEMORY
    this.#w *= kept
    this.#x *= kept
    this.#y *= kept
    this.#xx *= kept
    this.#xy *= kept
  }
}

/** As the mean began at 0, few samples say less than there is. */
function deviation({ log, learned }: Replica): number {
  const mean = log / (1 - (1 - STEP) ** learned)
  return trustedDeviation(mean, NOISE, REAL)
}
