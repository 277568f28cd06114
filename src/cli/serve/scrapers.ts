import type { PoolKeeper } from '../../inference/pool-keeper.ts'
import { Scraper, type ScraperStats } from '../../inference/scraper.ts'
import type { Log } from '../../telemetry/log.ts'

/** A scraper for each pool of the plan. */
export class Scrapers {
  readonly #log: Log
  readonly #scrapers = new Map<PoolKeeper, Scraper>()

  constructor(log: Log) {
    this.#log = log
  }

  /** Starts, updates and stops scrapers so that exactly these pools are read. */
  follow(pools: Iterable<PoolKeeper>): void {
    const wanted = new Set(pools)
    for (const [pool, scraper] of this.#scrapers) {
      if (wanted.has(pool)) continue
      scraper.stop()
      this.#scrapers.delete(pool)
    }
    for (const pool of wanted) {
      const known = this.#scrapers.get(pool)
      if (known !== undefined) {
        known.update()
        continue
      }
      const scraper = new Scraper(pool, {
        onIncomplete: (address, problem) => {
          const facts = { pool: pool.plan.name, endpoint: address }
          if (problem === '') this.#log.info(facts, 'metrics of the endpoint are complete')
          else this.#log.warn({ ...facts, problem }, 'metrics of the endpoint are incomplete')
        },
        onChange: (address, message) => {
          if (message === undefined) this.#log.info({ pool: pool.plan.name, endpoint: address }, 'endpoint is back')
          else this.#log.warn({ pool: pool.plan.name, endpoint: address, message }, 'endpoint cannot be scraped')
        },
      })
      this.#scrapers.set(pool, scraper)
      scraper.start()
    }
  }

  /** By pool name. */
  stats(): [string, ScraperStats][] {
    return Array.from(this.#scrapers, ([pool, scraper]) => [pool.plan.name, scraper.stats])
  }

  stop(): void {
    for (const scraper of this.#scrapers.values()) scraper.stop()
    this.#scrapers.clear()
  }
}
