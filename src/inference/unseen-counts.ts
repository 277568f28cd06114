import type { EndpointTable } from './endpoint-table.ts'

/** Without a good scrape for so long, or for so many turns, an endpoint is one that tells nothing, ms. */
const SILENT_AFTER_MS = 10_000
const SILENT_AFTER_TURNS = 3
/** What a silent endpoint's counts fade by is 1 / e of them in this time, ms: the time that a request is taken to last there. */
const LASTS_MS = 5_000
/** Time between two steps of fading, ms. */
export const FADE_STEP_MS = 250

/**
 * Counts whose end scrapes would tell (`EndpointTable.releaseOnceSeen`, and all where scrapes release), on endpoints that answer no scrape: they fade
 * instead of staying for good, which no limit of requests in flight would survive. Main thread.
 */
export class UnseenCounts {
  readonly #table: EndpointTable
  #fadedAt = 0
  /** Of each slot, what a step would give back of a request that it does not give back whole. */
  #owed: number[] = []

  constructor(table: EndpointTable) {
    this.#table = table
  }

  /** One step, at `now` (Unix ms, the clock of scrapes). `turnMs`: the longest time between two scrapes. Tells whether something was given back. */
  fade(now: number, turnMs: number): boolean {
    const { live, liveCount, scrapedAt, counters, releaseBy, currentGeneration } = this.#table
    const passed = Math.min(LASTS_MS, Math.max(0, now - this.#fadedAt))
    const silentSince = now - Math.max(SILENT_AFTER_MS, SILENT_AFTER_TURNS * turnMs)
    this.#fadedAt = now
    let gaveBack = false
    for (let i = 0; i < liveCount; i++) {
      const slot = live[i]!
      const told = scrapedAt[slot] !== 0 && scrapedAt[slot]! > silentSince
      const open = told ? 0 : releaseBy === 'scrape' ? counters.own(slot) : counters.ended(slot)
      if (open <= 0) {
        this.#owed[slot] = 0
        continue
      }
      const owed = (this.#owed[slot] ?? 0) + (open * passed) / LASTS_MS
      const over = Math.min(open, Math.floor(owed))
      this.#owed[slot] = owed - over
      if (over === 0) continue
      if (releaseBy === 'scrape') counters.release(slot, over)
      else
        for (let left = counters.takeEnded(slot, over); left > 0; left--)
          this.#table.unplace(slot, currentGeneration[slot]!)
      gaveBack = true
    }
    return gaveBack
  }
}
