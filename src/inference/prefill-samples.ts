/**
 * What one replica's counters tell of the cost of prefills, from scrape to scrape.
 *
 * Requests in their prefill = running + ended − first tokens, beyond what requests that ended without a first token have added to that.
 * How many these are is known from two sides: at least the most that `ended − first tokens` ever was, at most the least of the sum lately.
 * There are two kinds of samples:
 *
 * - *quiet*: what lies between two scrapes at which no request was in its prefill and none waited. Both sides of the division are of the
 *   same requests, and no queue stands in it: the sum of their times to first token ÷ their tokens.
 * - *busy*, of replicas for which such moments do not come: the time in which any request was in its prefill ÷ the tokens of those that
 *   got through. The replica's time, not the requests': those that are computed together share it, and what they wait for each other or
 *   for room does not count. Without these a replica under load would keep the prior, and a pool that takes prefills for cheaper
 *   than they are makes more of them, so that the load stays.
 */
import type { ReplicaMetrics } from './replica-metrics.ts'

/** A prefill costs as if it had about so many tokens more: a step of the engine, and the first token out of it. */
export const PREFILL_BASE_TOKENS = 150

/** More first tokens between two quiet moments: too much of their time was spent waiting for each other. */
const MOST_TOGETHER = 3
/** How long the least number of requests in their prefill is remembered, ms: under load there are seconds without a moment of none. */
const LEAST_MEMORY_MS = 30_000
/** A busy sample takes so many first tokens: what is half done at its ends is then a small part of it. */
const BUSY_FIRST_TOKENS = 4
/** Scrapes further apart do not tell what was between them, ms. */
const LONGEST_GAP_MS = 500

/** Means of one or more prefills. */
export interface PrefillSample {
  /** That the cache did not have. */
  readonly tokens: number
  readonly ms: number
  /** 0 … 1 */
  readonly weight: number
}

interface Counters {
  readonly firstTokens: number
  readonly firstTokenMs: number
  readonly promptTokens: number
  readonly queriedTokens: number
  readonly cachedTokens: number
}

export class PrefillSampler {
  /** Counters at the last quiet moment; undefined: something was missing since. */
  #quiet: Counters | undefined
  /** Counters when the busy sample under way began; undefined: none is. */
  #busy: Counters | undefined
  /** Time of it in which some request was in its prefill, ms. */
  #busyMs = 0
  #firstTokens = 0
  /** Least `running + ended − first tokens` of the last period and of this one. */
  #leastBefore = Number.POSITIVE_INFINITY
  #least = Number.POSITIVE_INFINITY
  #periodAt: number
  /** Most `ended − first tokens` since the server's start. */
  #without = Number.NEGATIVE_INFINITY
  #at = 0
  /** At the last scrape some request was in its prefill. */
  #prefilled = false

  constructor(now: number) {
    this.#periodAt = now
  }

  /** A good scrape that began at `now`, Unix ms. */
  take(page: ReplicaMetrics, now: number): PrefillSample | undefined {
    const { firstTokens, ended, waiting } = page
    const inPrefill = page.running + ended - firstTokens
    this.#bound(inPrefill, firstTokens, ended, now)
    const gap = now - this.#at
    this.#at = now
    // Less than none: the server does not tell how many have ended.
    if (inPrefill < 0) {
      this.#quiet = this.#busy = undefined
      return undefined
    }
    const counters = countersOf(page)
    const least = Math.min(this.#least, this.#leastBefore)
    const busy = this.#takeBusy(counters, inPrefill > Math.max(this.#without, 0), gap)
    if (waiting > 0) this.#quiet = undefined
    if (waiting > 0 || inPrefill > least) return busy
    const before = this.#quiet
    this.#quiet = counters
    const quiet = before === undefined ? undefined : quietSample(before, counters)
    if (quiet === undefined) return busy
    this.#busy = undefined
    return quiet
  }

  #bound(inPrefill: number, firstTokens: number, ended: number, now: number): void {
    const restarted = firstTokens < this.#firstTokens
    this.#firstTokens = firstTokens
    if (restarted) {
      this.#quiet = this.#busy = undefined
      this.#without = Number.NEGATIVE_INFINITY
    }
    if (restarted || now - this.#periodAt > LEAST_MEMORY_MS) {
      this.#leastBefore = restarted ? inPrefill : this.#least
      this.#least = inPrefill
      this.#periodAt = now
    }
    this.#least = Math.min(this.#least, inPrefill)
    this.#without = Math.max(this.#without, ended - firstTokens)
  }

  #takeBusy(counters: Counters, prefills: boolean, gap: number): PrefillSample | undefined {
    const prefilled = this.#prefilled
    this.#prefilled = prefills
    const before = this.#busy
    if (before === undefined || gap <= 0 || gap > LONGEST_GAP_MS) {
      this.#busy = counters
      this.#busyMs = 0
      return undefined
    }
    // What began or ended in between did so in the middle of it, on average.
    this.#busyMs += (gap * (Number(prefilled) + Number(prefills))) / 2
    const count = counters.firstTokens - before.firstTokens
    if (count < BUSY_FIRST_TOKENS) return undefined
    this.#busy = counters
    const tokens = uncached(before, counters)
    // No request was in its prefill for longer than it took to its first token.
    const time = Math.min(this.#busyMs, counters.firstTokenMs - before.firstTokenMs)
    this.#busyMs = 0
    return tokens > 0 && time > 0 ? { tokens: tokens / count, ms: time / count, weight: 1 } : undefined
  }
}

function quietSample(before: Counters, now: Counters): PrefillSample | undefined {
  const count = now.firstTokens - before.firstTokens
  if (count < 1 || count > MOST_TOGETHER) return undefined
  const tokens = uncached(before, now)
  const time = now.firstTokenMs - before.firstTokenMs
  if (!(tokens > 0 && time > 0)) return undefined
  // One after the other, or all of them in one step: nobody knows. The middle is wrong by √count at the most.
  return { tokens: tokens / count, ms: time / Math.sqrt(count) / count, weight: 1 / count ** 3 }
}

/**
 * Tokens between that the cache did not have. What was looked up in the cache is counted in the same moment as what was found: engines
 * that tell it need no other number, as some count a prompt only when its request has ended.
 */
function uncached(before: Counters, now: Counters): number {
  const queried = now.queriedTokens - before.queriedTokens
  const prompts = queried > 0 ? queried : now.promptTokens - before.promptTokens
  return prompts - (now.cachedTokens - before.cachedTokens)
}

function countersOf({
  firstTokens,
  firstTokenSeconds,
  promptTokens,
  queriedTokens,
  cachedTokens,
}: ReplicaMetrics): Counters {
  return { firstTokens, firstTokenMs: firstTokenSeconds * 1000, promptTokens, queriedTokens, cachedTokens }
}
