import type { EndpointTable } from './endpoint-table.ts'

/** Requests of one replica of Signalbox at one endpoint: more is no number that anybody could mean. */
const MOST_OUTSTANDING = 1_000_000
const MOST_TOKENS = 0x3fffffff
/** What counts of them, so that the column of 256 replicas (src/peers) stays an Int32 with room for our own. */
const MOST_COUNTED_TOKENS = 0x3fffffff >> 8

/** What a replica of Signalbox has counted at an endpoint since it began. */
export interface EndpointCount {
  /** `ip:port` */
  readonly address: string
  /** Totals modulo 2³². */
  readonly decided: number
  readonly released: number
  /** Tokens of the requests in flight. */
  readonly tokens: number
}

interface Counted extends EndpointCount {
  readonly slot: number
  readonly generation: number
}

/** Of a replica. */
interface Told {
  /** By address: what it told last. */
  readonly endpoints: Map<string, Counted>
  /** Its requests, each once; undefined: it has not said. */
  requests: number | undefined
  /** … and by endpoint. */
  placed: number
  /** What of this is in the sum of all. */
  summed: number
}

/**
 * The requests that other replicas of Signalbox have sent to a pool's endpoints, as they tell: added to the table's own column for that, so that
 * picks see them in every in-flight count, and to its number of requests. Main thread.
 */
export class PeerCounts {
  readonly #table: EndpointTable
  readonly #told = new Map<string, Told>()

  constructor(table: EndpointTable) {
    this.#table = table
  }

  /** A replica tells of an endpoint. One that the pool does not have, and numbers that cannot be, are passed over. Tells whether it counts. */
  take(peer: string, count: EndpointCount): boolean {
    const { address, decided, released } = count
    const slot = this.#table.slotOf(address)
    const outstanding = (decided - released) | 0
    const sane = outstanding >= 0 && outstanding <= MOST_OUTSTANDING && count.tokens >= 0 && count.tokens <= MOST_TOKENS
    if (slot === undefined || !sane) return false
    const tokens = Math.min(count.tokens, MOST_COUNTED_TOKENS)
    const generation = this.#table.currentGeneration[slot]!
    const told = this.#of(peer)
    const before = told.endpoints.get(address)
    told.endpoints.set(address, { address, decided, released, tokens, slot, generation })
    told.placed += outstanding - (before === undefined ? 0 : outstandingOf(before))
    this.#sum(told)
    const { counters } = this.#table
    if (before === undefined || before.slot !== slot || before.generation !== generation)
      // What it sent there before we heard of it, and is over, tells nothing.
      counters.addPeers(slot, outstanding, 0, tokens)
    else
      counters.addPeers(slot, (decided - before.decided) | 0, (released - before.released) | 0, tokens - before.tokens)
    return true
  }

  /** A replica tells how many requests it has on their way: each once, where `take` knows them at each endpoint that takes part. */
  takeRequests(peer: string, requests: number): void {
    if (requests > MOST_OUTSTANDING) return
    const told = this.#of(peer)
    told.requests = requests
    this.#sum(told)
  }

  /** The replica is gone: its requests are over for us. */
  forget(peer: string): void {
    const told = this.#told.get(peer)
    if (told === undefined) return
    for (const { slot, generation, decided, released, tokens } of told.endpoints.values())
      if (this.#table.currentGeneration[slot] === generation)
        this.#table.counters.addPeers(slot, 0, (decided - released) | 0, -tokens)
    this.#table.requests.addPeers(-told.summed)
    this.#told.delete(peer)
  }

  /** Endpoints have come and gone. */
  prune(): void {
    for (const told of this.#told.values()) {
      for (const [address, counted] of told.endpoints) {
        if (this.#table.currentGeneration[counted.slot] === counted.generation) continue
        told.endpoints.delete(address)
        told.placed -= outstandingOf(counted)
      }
      this.#sum(told)
    }
  }

  #sum(told: Told): void {
    const { requests, placed, summed } = told
    told.summed = requests ?? placed
    this.#table.requests.addPeers(told.summed - summed)
  }

  #of(peer: string): Told {
    let told = this.#told.get(peer)
    if (told === undefined)
      this.#told.set(peer, (told = { endpoints: new Map(), requests: undefined, placed: 0, summed: 0 }))
    return told
  }
}

function outstandingOf({ decided, released }: EndpointCount): number {
  return (decided - released) | 0
}
