import type { EndpointTable } from './endpoint-table.ts'

/**
 * So many requests of a pool may be on their way at once, over all threads, and over all replicas of Signalbox that tell each other. Threads
 * that decide at the same instant may pass it by a request each.
 */
export class InFlightLimit {
  readonly max: number
  readonly #table: EndpointTable

  constructor(max: number, table: EndpointTable) {
    this.max = max
    this.#table = table
  }

  get isReached(): boolean {
    const { live, liveCount } = this.#table
    let sum = 0
    for (let i = 0; i < liveCount; i++) sum += this.#table.inFlight(live[i]!)
    return sum >= this.max
  }
}
