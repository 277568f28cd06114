/**
 * What a prefill costs on each replica, in ms per token that its cache does not have, learned on the main thread from counters that
 * scrapes bring: first tokens and the sum of their times, prompt tokens and those found in the cache, requests that have ended.
 *
 * A **sample** is what lies between two scrapes at which no request was in its prefill and none waited: then both sides of the division
 * are of the same requests, and no queue stands in it. Requests in their prefill = running + ended − first tokens, as far as that is more
 * than the least seen lately (requests that ended without a first token raise it for ever). A replica under so much load that such
 * moments never come keeps what was learned before.
 *
 * Two estimates learn from each sample, the replica's and the pool's: medians in the logarithm, which a sample moves by a bounded step, so
 * that no single value, wrong or malicious, weighs more than another. A new replica begins at the pool's, and stays within a factor of 16
 * of it whatever its counters say.
 */
import type { EndpointTable } from './endpoint-table.ts'
import type { VllmMetrics } from './metrics-parser.ts'

/** Before anything is learned: a mid-sized model on a current GPU. */
export const PRIOR_PREFILL_MS = 0.1
/** A prefill costs as if it had so many tokens more: a step of the engine, and the first token out of it. */
export const PREFILL_BASE_TOKENS = 150

const SLOWEST = 20
const FASTEST = 0.001
const WIDEST = Math.log(16)
/** Differences from the pool in the logarithm: less than the one is noise, from the other on it counts in full. */
/** Samples from which a replica's own estimate counts. */
const ENOUGH = 6
const NOISE = 0.2
const REAL = 0.5
/** Steps in the logarithm: the first sample's, the least, and how fast the one goes over to the other. */
const FIRST_STEP = 1.2
const LAST_STEP = 0.06
/** Prompts from which a sample counts in full, tokens. */
const FULL_WEIGHT_TOKENS = 400
/** More first tokens between two quiet moments: too much of their time was spent waiting for each other. */
const MOST_TOGETHER = 3
/** How long the least number of requests in their prefill is remembered, ms. */
const LEAST_MEMORY_MS = 10_000

interface Counters {
  firstTokens: number
  firstTokenMs: number
  promptTokens: number
  cachedTokens: number
}

interface Replica {
  readonly estimate: Estimate
  /** Counters at the last quiet moment; undefined: something was missing since. */
  quiet: Counters | undefined
  firstTokens: number
  /** Least `running + ended − first tokens` of the last period and of this one. */
  leastBefore: number
  least: number
  periodAt: number
}

export class PrefillRates {
  readonly #pool = new Estimate(PRIOR_PREFILL_MS)
  readonly #replicas: (Replica | undefined)[] = []

  /** The slot has a new tenant. */
  begin(table: EndpointTable, slot: number): void {
    this.#replicas[slot] = undefined
    table.estimates.prefillMs[0] = this.#pool.value
    table.estimates.prefillFactor[slot] = 1
  }

  /** Learns from a good scrape of the slot that began at `now` (Unix ms). */
  observe(table: EndpointTable, slot: number, page: VllmMetrics, now: number): void {
    const replica = (this.#replicas[slot] ??= newReplica(this.#pool.value, now))
    const sample = this.#sampleOf(replica, page, now)
    if (sample !== undefined) {
      this.#pool.learn(sample.rate, sample.weight)
      replica.estimate.learn(sample.rate, sample.weight)
    }
    const { prefillMs, prefillFactor } = table.estimates
    prefillMs[0] = this.#pool.value
    if (replica.estimate.learned >= ENOUGH)
      prefillFactor[slot] = Math.exp(deviation(replica.estimate.log - this.#pool.log))
  }

  #sampleOf(replica: Replica, page: VllmMetrics, now: number): { rate: number; weight: number } | undefined {
    const { firstTokens, promptTokens, cachedTokens, ended } = page
    const inPrefill = page.running + ended - firstTokens
    const restarted = firstTokens < replica.firstTokens
    replica.firstTokens = firstTokens
    if (restarted || now - replica.periodAt > LEAST_MEMORY_MS) {
      replica.leastBefore = restarted ? inPrefill : replica.least
      replica.least = inPrefill
      replica.periodAt = now
    }
    if (restarted) replica.quiet = undefined
    replica.least = Math.min(replica.least, inPrefill)
    // Less than none: the server does not tell how many have ended.
    if (inPrefill < 0) {
      replica.quiet = undefined
      return undefined
    }
    if (page.waiting > 0) replica.quiet = undefined
    if (page.waiting > 0 || inPrefill > Math.min(replica.least, replica.leastBefore)) return undefined
    const before = replica.quiet
    const counters = { firstTokens, firstTokenMs: page.firstTokenSeconds * 1000, promptTokens, cachedTokens }
    replica.quiet = counters
    if (before === undefined) return undefined
    const count = firstTokens - before.firstTokens
    if (count < 1 || count > MOST_TOGETHER) return undefined
    const tokens = promptTokens - before.promptTokens - (cachedTokens - before.cachedTokens)
    const time = counters.firstTokenMs - before.firstTokenMs
    if (!(tokens > 0 && time > 0)) return undefined
    // One after the other, or all of them in one step: nobody knows. The middle is wrong by √count at the most.
    const rate = time / Math.sqrt(count) / (tokens + count * PREFILL_BASE_TOKENS)
    return { rate, weight: Math.min(1, tokens / FULL_WEIGHT_TOKENS) / count ** 3 }
  }
}

/** A running median in the logarithm. */
class Estimate {
  log: number
  /** Sum of the samples' weights. */
  learned = 0
  #step = FIRST_STEP

  constructor(first: number) {
    this.log = Math.log(first)
  }

  get value(): number {
    return Math.exp(this.log)
  }

  learn(sample: number, weight: number): void {
    const distance = Math.log(Math.min(SLOWEST, Math.max(FASTEST, sample))) - this.log
    const step = this.#step * weight
    this.learned += weight
    this.log += Math.max(-step, Math.min(step, distance))
    this.#step = Math.max(LAST_STEP, this.#step * (1 - 0.15 * weight))
  }
}

/** How far a replica is taken to differ from its pool: replicas of one kind must not look unlike by chance, or the luckiest gets all. */
function deviation(distance: number): number {
  const size = Math.abs(distance)
  const trust = Math.min(1, Math.max(0, (size - NOISE) / (REAL - NOISE)))
  return Math.sign(distance) * Math.min(WIDEST, size) * trust
}

function newReplica(rate: number, now: number): Replica {
  return {
    estimate: new Estimate(rate),
    quiet: undefined,
    firstTokens: 0,
    leastBefore: Number.POSITIVE_INFINITY,
    least: Number.POSITIVE_INFINITY,
    periodAt: now,
  }
}
