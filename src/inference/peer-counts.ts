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

/**
 * The requests that other replicas of Signalbox have sent to a pool's endpoints, as they tell: added to the table's own column for that, so that
 * picks see them in every in-flight count. Main thread.
 */
export class PeerCounts {
  readonly #table: EndpointTable
  /** By replica and address: what it told last. */
  readonly #told = new Map<string, Map<string, Counted>>()

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
    const before = told.get(address)
    told.set(address, { address, decided, released, tokens, slot, generation })
    const { counters } = this.#table
    if (before === undefined || before.slot !== slot || before.generation !== generation)
      // What it sent there before we heard of it, and is over, tells nothing.
      counters.addPeers(slot, outstanding, 0, tokens)
    else
      counters.addPeers(slot, (decided - before.decided) | 0, (released - before.released) | 0, tokens - before.tokens)
    return true
  }

  /** The replica is gone: its requests are over for us. */
  forget(peer: string): void {
    for (const { slot, generation, decided, released, tokens } of this.#told.get(peer)?.values() ?? [])
      if (this.#table.currentGeneration[slot] === generation)
        this.#table.counters.addPeers(slot, 0, (decided - released) | 0, -tokens)
    this.#told.delete(peer)
  }

  /** Endpoints have come and gone. */
  prune(): void {
    for (const told of this.#told.values())
      for (const [address, { slot, generation }] of told)
        if (this.#table.currentGeneration[slot] !== generation) told.delete(address)
  }

  #of(peer: string): Map<string, Counted> {
    let told = this.#told.get(peer)
    if (told === undefined) this.#told.set(peer, (told = new Map()))
    return told
  }
}
