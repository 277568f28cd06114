import type { EndpointTable } from './endpoint-table.ts'

/** Without a good scrape for so long, an endpoint is one that tells nothing, ms. */
const SILENT_AFTER_MS = 10_000
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

  constructor(table: EndpointTable) {
    this.#table = table
  }

  /** One step, at `now` (Unix ms, the clock of scrapes). Tells whether something was given back. */
  fade(now: number): boolean {
    const { live, liveCount, scrapedAt, counters, releaseBy, currentGeneration } = this.#table
    const passed = Math.min(LASTS_MS, Math.max(0, now - this.#fadedAt))
    this.#fadedAt = now
    let gaveBack = false
    for (let i = 0; i < liveCount; i++) {
      const slot = live[i]!
      if (scrapedAt[slot] !== 0 && now - scrapedAt[slot]! < SILENT_AFTER_MS) continue
      const open = releaseBy === 'scrape' ? counters.own(slot) : counters.ended(slot)
      if (open <= 0) continue
      const over = Math.min(open, Math.ceil((open * passed) / LASTS_MS))
      if (releaseBy === 'scrape') counters.release(slot, over)
      else
        for (let left = counters.takeEnded(slot, over); left > 0; left--)
          this.#table.unplace(slot, currentGeneration[slot]!)
      gaveBack = true
    }
    return gaveBack
  }
}
