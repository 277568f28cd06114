/**
 * What a prefill costs on each replica, in ms per token that its cache does not have, learned on the main thread from samples
 * (./prefill-samples.ts) that counters of its scrapes give.
 *
 * A prefill takes `base + tokens × rate`. Prompts of which nearly all is cached tell of the base, and the others of the rate: with a base
 * that was guessed a replica that has a hot prefix would look slow, and an engine whose time does not depend on the prompt at all as if it did.
 *
 * Two estimates learn from each sample, the replica's and the pool's: medians in the logarithm, which a sample moves by a bounded step, so
 * that no single value, wrong or malicious, weighs more than another. A new replica begins at the pool's, and stays within a factor of 16
 * of it whatever its counters say.
 */
import type { EndpointTable } from './endpoint-table.ts'
import { PREFILL_BASE_TOKENS, type PrefillSample, PrefillSampler } from './prefill-samples.ts'
import type { ReplicaMetrics } from './replica-metrics.ts'
import { trustedDeviation } from './trusted-deviation.ts'

/** Before anything is learned: a mid-sized model on a current GPU. */
const PRIOR_PREFILL_MS = 0.1
/** Up to so many tokens a prompt tells of the base … */
const SHORT_TOKENS = 200
/** … and from so many on in full of the rate. */
const LONG_TOKENS = 400
const SLOWEST = 20
const FASTEST = 0.001
const LONGEST_BASE_MS = 10_000
const SHORTEST_BASE_MS = 0.1
/** Samples from which a replica's own estimate counts. */
const ENOUGH = 6
/** As of `trustedDeviation`. */
const NOISE = 0.2
const REAL = 0.5
/** Steps in the logarithm: the first sample's, the least, and how fast the one goes over to the other. */
const FIRST_STEP = 1.2
const LAST_STEP = 0.06

interface Replica {
  readonly estimate: Estimate
  readonly sampler: PrefillSampler
}

export class PrefillRates {
  readonly #pool = new Estimate(PRIOR_PREFILL_MS, FASTEST, SLOWEST)
  readonly #base = new Estimate(PREFILL_BASE_TOKENS * PRIOR_PREFILL_MS, SHORTEST_BASE_MS, LONGEST_BASE_MS)
  readonly #replicas: (Replica | undefined)[] = []

  /** The slot has a new tenant. */
  begin(table: EndpointTable, slot: number): void {
    this.#replicas[slot] = undefined
    table.estimates.prefillMs[0] = this.#pool.value
    table.estimates.prefillFactor[slot] = 1
  }

  /** Learns from a good scrape of the slot that began at `now` (Unix ms). */
  observe(table: EndpointTable, slot: number, page: ReplicaMetrics, now: number): void {
    const replica = (this.#replicas[slot] ??= {
      estimate: new Estimate(this.#pool.value, FASTEST, SLOWEST),
      sampler: new PrefillSampler(now),
    })
    const sample = replica.sampler.take(page, now)
    if (sample !== undefined) this.#learn(replica, sample)
    const { prefillMs, prefillFactor } = table.estimates
    prefillMs[0] = this.#pool.value
    if (replica.estimate.learned >= ENOUGH)
      prefillFactor[slot] = Math.exp(trustedDeviation(replica.estimate.log - this.#pool.log, NOISE, REAL))
  }

  #learn({ estimate }: Replica, { tokens, ms, weight }: PrefillSample): void {
    if (tokens <= SHORT_TOKENS) {
      this.#base.learn(ms - tokens * this.#pool.value, weight)
      return
    }
    const known = this.#base.learned >= ENOUGH
    const rate = known ? (ms - this.#base.value) / tokens : ms / (tokens + PREFILL_BASE_TOKENS)
    const share = weight * Math.min(1, tokens / LONG_TOKENS)
    this.#pool.learn(rate, share)
    estimate.learn(rate, share)
  }
}

/** A running median in the logarithm. */
class Estimate {
  log: number
  /** Sum of the samples' weights. */
  learned = 0
  readonly #least: number
  readonly #most: number
  #step = FIRST_STEP

  constructor(first: number, least: number, most: number) {
    this.log = Math.log(first)
    this.#least = least
    this.#most = most
  }

  get value(): number {
    return Math.exp(this.log)
  }

  learn(sample: number, weight: number): void {
    const distance = Math.log(Math.min(this.#most, Math.max(this.#least, sample))) - this.log
    const step = this.#step * weight
    this.learned += weight
    this.log += Math.max(-step, Math.min(step, distance))
    this.#step = Math.max(LAST_STEP, this.#step * (1 - 0.15 * weight))
  }
}
