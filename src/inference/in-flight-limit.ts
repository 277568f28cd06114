import type { EndpointTable } from './endpoint-table.ts'

/**
 * So many requests of a pool may be on their way at once, over all threads, and over all replicas of Signalbox that tell each other. Threads
 * that decide at the same instant may pass it by a request each. What scrapes release is by endpoint: there, a request that several
 * endpoints take part in counts at each.
 */
export class InFlightLimit {
  readonly max: number
  readonly #table: EndpointTable

  constructor(max: number, table: EndpointTable) {
    this.max = max
    this.#table = table
  }

  get isReached(): boolean {
    const { live, liveCount, releaseBy, requests } = this.#table
    if (releaseBy !== 'scrape') return requests.count + requests.peers >= this.max
    let sum = 0
    for (let i = 0; i < liveCount; i++) sum += this.#table.inFlight(live[i]!)
    return sum >= this.max
  }
}
