import { PoolFeed } from '../../inference/kv-events/pool-feed.ts'
import type { PoolKeeper } from '../../inference/pool-keeper.ts'
import type { Log } from '../../telemetry/log.ts'

/** The KV cache events of each pool that wants them. */
export class KvFeeds {
  readonly #log: Log
  readonly #feeds = new Map<PoolKeeper, PoolFeed>()

  constructor(log: Log) {
    this.#log = log
  }

  /** Follows exactly the endpoints of these pools, as far as their plans ask for it. */
  follow(pools: Iterable<PoolKeeper>): void {
    const wanted = new Set<PoolKeeper>()
    for (const pool of pools) if (pool.kvLedger !== undefined) wanted.add(pool)
    for (const [pool, feed] of this.#feeds) {
      if (wanted.has(pool)) continue
      feed.stop()
      this.#feeds.delete(pool)
    }
    for (const pool of wanted) this.#feedOf(pool).follow(endpointsOf(pool), pool.kvLedger!)
  }

  all(): [PoolKeeper, PoolFeed][] {
    return [...this.#feeds]
  }

  stop(): void {
    for (const feed of this.#feeds.values()) feed.stop()
    this.#feeds.clear()
  }

  #feedOf(pool: PoolKeeper): PoolFeed {
    const known = this.#feeds.get(pool)
    if (known !== undefined) return known
    const feed = new PoolFeed({
      onChange: (endpoint, message) => {
        const fields = { pool: pool.plan.name, endpoint }
        if (message === undefined) this.#log.info(fields, 'KV events: connected')
        else this.#log.warn({ ...fields, message }, 'KV events: not connected')
      },
    })
    this.#feeds.set(pool, feed)
    return feed
  }
}

function endpointsOf({ plan, table }: PoolKeeper) {
  return plan.endpoints.flatMap(({ address, labels }) => {
    const slot = table.slotOf(address)
    return slot === undefined ? [] : [{ slot, generation: table.currentGeneration[slot]!, address, labels }]
  })
}
