/**
 * Reads metrics and model lists of a pool's endpoints: one keep-alive connection each, never two requests at once on it, the
 * endpoints' turns spread over the interval with some jitter. One timer for all of them.
 *
 * Budget: 100 endpoints every 50 ms with a vLLM page of 403 lines in 0.25 core, none lost (`test/bench/scrape.bench.ts`).
 */
import type { VllmMetrics } from './metrics-parser.ts'
import { createVllmMetrics, parseVllmMetrics } from './metrics-parser.ts'
import { parseModelList } from './model-list.ts'
import type { PoolKeeper } from './pool-keeper.ts'
import type { ScrapeFailureKind } from './reachability.ts'
import { Random } from './scheduling/random.ts'
import { ScrapeConnection, type ScrapeEvents, type ScrapeFailure } from './scrape-connection.ts'

const MAX_PAGE_BYTES = 4 * 1024 * 1024
const MAX_LIST_BYTES = 1024 * 1024
const MODELS_PATH = '/v1/models'
/** Share of the interval by which a turn is moved at random. */
const JITTER = 0.1
/** After this many failures in a row an endpoint's turns become rarer … */
const PATIENCE = 3
/** … up to this, so that it is back soon when it works again; ms. */
const MAX_BACKOFF = 1000
const LOST: ReadonlySet<ScrapeFailure> = new Set(['connect', 'closed'])
/** The first failures are checked this soon, ms: a dead endpoint must be found out quickly however long the interval is. */
const RETRY = 100
/** A picked request needs about this long to reach its replica, ms: what was decided later a scrape may not have seen. */
const ARRIVAL = 10
/** `Pool.relist` makes each endpoint be asked at most this often, ms. */
const RELIST_INTERVAL = 1000

export interface ScraperStats {
  /** Good scrapes. */
  readonly good: number
  readonly failed: number
  /** The last failure's `address: message`. */
  readonly lastError: string
}

/** The pool that is read. */
export type ScrapedPool = Pick<
  PoolKeeper,
  'plan' | 'table' | 'scrapeBegan' | 'scrapeSucceeded' | 'scrapeFailed' | 'listed' | 'takeRelist'
>

export interface ScraperOptions {
  /** Told of an endpoint's first failure after a good scrape, and of its return. For the log. */
  readonly onChange?: (address: string, error: string | undefined) => void
  readonly seed?: number
}

/** One endpoint's turns. */
class Target implements ScrapeEvents {
  readonly address: string
  readonly slot: number
  readonly generation: number
  readonly connection: ScrapeConnection
  readonly #scraper: Scraper
  /** Start of the next turn, without jitter; ms of `performance.now`. */
  turnAt = 0
  /** The same with jitter. */
  dueAt = 0
  deadline = 0
  modelsDueAt = 0
  modelsAskedAt = Number.NEGATIVE_INFINITY
  /** Decisions up to the next scrape's view have been marked (`PoolKeeper.scrapeBegan`). */
  marked = false
  /** What the request under way is for. */
  asks: 'metrics' | 'models' = 'metrics'
  /** Unix ms. */
  beganAt = 0
  failures = 0
  /** No metrics came since the last good scrape. */
  failing = false

  constructor(scraper: Scraper, address: string, slot: number, generation: number) {
    this.#scraper = scraper
    this.address = address
    this.slot = slot
    this.generation = generation
    this.connection = new ScrapeConnection(address, this)
  }

  answered(status: number, body: Buffer): void {
    this.#scraper.answered(this, status, body)
  }

  failed(failure: ScrapeFailure, message: string): void {
    this.#scraper.failed(this, failure, message)
  }
}

export class Scraper {
  readonly #pool: ScrapedPool
  readonly #options: ScraperOptions
  readonly #random: Random
  readonly #targets = new Map<string, Target>()
  readonly #metrics: VllmMetrics = createVllmMetrics()
  #timer: NodeJS.Timeout | undefined
  #running = false
  #good = 0
  #failed = 0
  #lastError = ''

  constructor(pool: ScrapedPool, options: ScraperOptions = {}) {
    this.#pool = pool
    this.#options = options
    this.#random = new Random(options.seed ?? 1)
  }

  get stats(): ScraperStats {
    return { good: this.#good, failed: this.#failed, lastError: this.#lastError }
  }

  start(): void {
    if (this.#running) return
    this.#running = true
    this.update()
  }

  /** Closes every connection and leaves no timer. */
  stop(): void {
    this.#running = false
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const target of this.#targets.values()) target.connection.destroy()
    this.#targets.clear()
  }

  /** Follows the pool's endpoints and plan; call after each `PoolKeeper.update`. */
  update(): void {
    if (!this.#running) return
    const { table } = this.#pool
    for (const [address, target] of this.#targets) {
      const slot = table.slotOf(address)
      if (slot === target.slot && table.generation[slot] === target.generation) continue
      target.connection.destroy()
      this.#targets.delete(address)
    }
    const now = performance.now()
    for (let i = 0; i < table.liveCount; i++) {
      const slot = table.live[i]!
      const address = table.address(slot)!
      if (this.#targets.has(address)) continue
      this.#targets.set(address, new Target(this, address, slot, table.generation[slot]!))
    }
    // New endpoints are asked at once, a few in each tick; their later turns keep the distance.
    let place = 0
    for (const target of this.#targets.values()) {
      if (target.turnAt === 0 || target.turnAt > now + this.#interval) {
        target.turnAt = now + (this.#interval * place) / this.#targets.size
        target.dueAt = target.beganAt === 0 ? Math.min(target.turnAt, now + RETRY) : target.turnAt
      }
      place++
    }
    clearTimeout(this.#timer)
    this.#tick()
  }

  /** Reads the models of all endpoints soon, but not more often than once a second. */
  #relist(now: number): void {
    for (const target of this.#targets.values()) {
      if (now - target.modelsAskedAt >= RELIST_INTERVAL) target.modelsDueAt = now
    }
  }

  /** @internal for the targets */
  answered(target: Target, status: number, body: Buffer): void {
    if (target.asks === 'models') {
      // A server without a list of models is no failure: it merely never lists any.
      const models = status === 200 ? parseModelList(body) : undefined
      if (models !== undefined) this.#pool.listed(target.slot, target.generation, models)
      return
    }
    if (status === 200 && parseVllmMetrics(body, this.#metrics)) {
      this.#pool.scrapeSucceeded(target.slot, target.generation, this.#metrics, target.beganAt)
      this.#good++
      target.failures = 0
      if (target.failing) {
        target.failing = false
        // The server may have been started anew, with other models.
        target.modelsDueAt = 0
        this.#options.onChange?.(target.address, undefined)
      }
    } else {
      const problem = status === 200 ? 'no metrics of a vLLM on the page' : `status ${status}`
      this.#fail(target, 'bad', problem)
    }
    this.#askModels(target, performance.now())
  }

  /** @internal for the targets */
  failed(target: Target, failure: ScrapeFailure, message: string): void {
    if (target.asks === 'models' && failure !== 'refused') return
    this.#fail(target, failure === 'refused' ? 'refused' : LOST.has(failure) ? 'lost' : 'bad', message)
  }

  get #interval(): number {
    return this.#pool.plan.scrape.intervalMs
  }

  #fail(target: Target, how: ScrapeFailureKind, message: string): void {
    this.#failed++
    this.#lastError = `${target.address}: ${message}`
    target.failures++
    this.#pool.scrapeFailed(target.slot, target.generation, how)
    if (!target.failing) {
      target.failing = true
      this.#options.onChange?.(target.address, message)
    }
    const backoff = Math.max(this.#interval, MAX_BACKOFF)
    const wait =
      target.failures <= PATIENCE
        ? Math.min(this.#interval, RETRY)
        : Math.min(this.#interval * 2 ** Math.min(target.failures - PATIENCE, 20), backoff)
    target.turnAt = performance.now() + wait
    target.dueAt = this.#jittered(target.turnAt)
  }

  #tick(): void {
    const now = performance.now()
    if (this.#pool.takeRelist()) this.#relist(now)
    for (const target of this.#targets.values()) {
      if (target.connection.busy) {
        if (now >= target.deadline) target.connection.timeOut()
      } else if (now >= target.dueAt) {
        this.#scrape(target, now)
      } else if (!target.marked && now >= target.dueAt - ARRIVAL) {
        this.#pool.scrapeBegan(target.slot)
        target.marked = true
      }
    }
    const step = Math.min(50, Math.max(2, this.#interval / 10))
    this.#timer = setTimeout(() => this.#tick(), step)
  }

  #scrape(target: Target, now: number): void {
    const interval = this.#interval
    // From turn to turn, not from now on: delays of the timer must not add up to lost scrapes.
    target.turnAt += interval
    if (target.turnAt < now) target.turnAt = now + interval
    target.dueAt = this.#jittered(target.turnAt)
    target.asks = 'metrics'
    target.beganAt = Date.now()
    target.deadline = now + this.#pool.plan.scrape.timeoutMs
    if (!target.marked) this.#pool.scrapeBegan(target.slot)
    target.marked = false
    target.connection.get(this.#pool.plan.scrape.path, MAX_PAGE_BYTES)
  }

  /** Follows a scrape on the same connection when the list is due. */
  #askModels(target: Target, now: number): void {
    if (now < target.modelsDueAt || target.connection.busy || !this.#running) return
    target.modelsDueAt = now + this.#pool.plan.scrape.modelsIntervalMs
    target.modelsAskedAt = now
    target.asks = 'models'
    target.deadline = now + this.#pool.plan.scrape.timeoutMs
    target.connection.get(MODELS_PATH, MAX_LIST_BYTES)
  }

  #jittered(turn: number): number {
    return turn + this.#interval * JITTER * (this.#random.below(1000) / 1000)
  }
}
