import type { Report } from '../gen/signalbox/peers/v1/peers_pb.ts'
import type { PoolKeeper } from '../inference/pool-keeper.ts'

/** What other replicas tell, put into the pools that both have. */
export class Inbox {
  readonly #pools: () => ReadonlyMap<string, PoolKeeper>
  readonly #nowMs: () => number
  #keys = new Int32Array(256)
  /** Reports and prompts so far. */
  reports = 0
  prompts = 0

  /** @param nowMs the clock of scrapes */
  constructor(pools: () => ReadonlyMap<string, PoolKeeper>, nowMs: () => number = Date.now) {
    this.#pools = pools
    this.#nowMs = nowMs
  }

  /** `peer`: who tells. What speaks of pools and endpoints that are not here is passed over. */
  take(peer: string, report: Report): void {
    this.reports++
    const pools = this.#pools()
    for (const { pool, endpoints, prompts, requests } of report.pools) {
      const keeper = pools.get(pool)
      if (keeper === undefined) continue
      for (const { address, decided, released, tokens } of endpoints)
        keeper.peerCounts.take(peer, { address, decided: decided | 0, released: released | 0, tokens })
      if (requests !== undefined) keeper.peerCounts.takeRequests(peer, requests)
      for (const { address, keys, bytes } of prompts) {
        if (this.#keys.length < keys.length) this.#keys = new Int32Array(2 * keys.length)
        this.#keys.set(keys)
        keeper.peerSent({ address, keys: this.#keys, blocks: keys.length >> 1, promptBytes: bytes }, this.#nowMs())
        this.prompts++
      }
    }
  }

  forget(peer: string): void {
    for (const keeper of this.#pools().values()) keeper.peerCounts.forget(peer)
  }
}
