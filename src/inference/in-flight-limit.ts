import type { EndpointTable } from './endpoint-table.ts'

/**
 * So many requests of a pool may be on their way at once, over all threads, and over all replicas of Signalbox that tell each other. Threads
 * that decide at the same instant may pass it by a request each. What other replicas tell, and what scrapes release, is by endpoint:
 * of those, a request that several endpoints take part in counts at each.
 */
export class InFlightLimit {
  readonly max: number
  readonly #table: EndpointTable

  constructor(max: number, table: EndpointTable) {
    this.max = max
    this.#table = table
  }

  get isReached(): boolean {
    const { live, liveCount, counters, releaseBy, requests, state } = this.#table
    const byScrape = releaseBy === 'scrape'
    let sum = byScrape ? 0 : requests.count
    if (!byScrape && !state.peers) return sum >= this.max
    for (let i = 0; i < liveCount; i++)
      sum += byScrape ? this.#table.inFlight(live[i]!) : Math.max(0, counters.peers(live[i]!))
    return sum >= this.max
  }
}
