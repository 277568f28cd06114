/**
 * The turns of one endpoint's metrics: one keep-alive connection, never two requests at once on it, turns that keep their distance with
 * some jitter.
 *
 * A replica that has nothing to do and got nothing to do **rests**: each further page of that kind doubles the time to the next, up to
 * `Scraper.longestRest`. It ends with the first decision for it, or when its server closes the connection; and when the pool becomes
 * active, all that rest are asked once soon. So a resting replica's data stays right but for what others send to it.
 */
import { writeAttributes } from './attributes.ts'
import type { EnginePage } from './engine-page.ts'
import { MetricsParser } from './metrics-parser.ts'
import { ModelsTarget } from './models-target.ts'
import type { ScrapeFailureKind } from './reachability.ts'
import { Signal } from './replica-metrics.ts'
import { ScrapeConnection, type ScrapeFailure, type ScrapeRequest } from './scrape-connection.ts'
import { atPort, scrapeTls } from './scrape-tls.ts'
import type { Scraper } from './scraper.ts'

const MAX_PAGE_BYTES = 4 * 1024 * 1024
/** Share of the time to the next turn by which it is moved at random. */
const JITTER = 0.1
/** After this many failures in a row an endpoint's turns become rarer … */
const PATIENCE = 3
/** … up to this, so that it is back soon when it works again; ms. */
const MAX_BACKOFF = 1000
const LOST: ReadonlySet<ScrapeFailure> = new Set(['connect', 'closed'])
/** A picked request needs about this long to reach its replica, ms: what was decided later a scrape may not have seen. */
const ARRIVAL = 10
const LOAD = Signal.WAITING | Signal.RUNNING

export interface ScrapeTargetOptions {
  readonly address: string
  readonly slot: number
  readonly generation: number
  readonly page: EnginePage
}

export class ScrapeTarget implements ScrapeRequest {
  readonly address: string
  readonly slot: number
  readonly generation: number
  readonly page: EnginePage
  /** Bits of `Signal` of the last good page. */
  missing = 0
  invalid = 0
  readonly #scraper: Scraper
  readonly #parser: MetricsParser
  readonly #connection: ScrapeConnection
  readonly #models: ModelsTarget | undefined
  /** Start of the next turn, without jitter; ms of `performance.now`. */
  #turnAt = 0
  /** The same with jitter. */
  #dueAt = 0
  /** Time from the last turn to the next while the replica rests, ms; 0 = it does not. */
  #rest = 0
  /** Decisions up to the next scrape's view have been marked (`PoolKeeper.scrapeBegan`). */
  #marked = false
  /** Unix ms. */
  #beganAt = 0
  /** Decisions for the endpoint as of the last `noticeDecisions`, and as of the last mark. */
  #decided: number
  #markedDecided = 0
  #failures = 0
  /** No metrics came since the last good scrape. */
  #failing = false
  /** The last request got an answer, good or bad. */
  #answered = false

  constructor(scraper: Scraper, { address, slot, generation, page }: ScrapeTargetOptions) {
    this.#scraper = scraper
    this.address = address
    this.slot = slot
    this.generation = generation
    this.page = page
    this.#parser = new MetricsParser(page)
    this.#decided = scraper.pool.table.counters.decided(slot)
    const { plan } = scraper
    const metricsAt = atPort(address, plan.port)
    this.#connection = new ScrapeConnection({
      address: metricsAt,
      tls: scrapeTls(plan.scheme, plan.tls),
      onIdleClose: () => this.#lookAgain(),
    })
    if (plan.models === false) return
    this.#models = new ModelsTarget({
      address,
      plan,
      connection: this.#connection,
      metricsAt,
      listed: models => scraper.pool.listed(slot, generation, models),
      refused: message => this.#fail('refused', message),
    })
  }

  /** The turn that a new endpoint gets, which is asked at `first` too, and one whose turn is further away than its interval by now. */
  plannedFor(now: number, turn: number, first: number): void {
    if (this.#turnAt !== 0 && this.#turnAt <= now + Math.max(this.#interval, this.#rest)) return
    this.#turnAt = turn
    this.#dueAt = this.#beganAt === 0 ? first : turn
  }

  relist(now: number, interval: number): void {
    this.#models?.relist(now, interval)
  }

  /** Whether something was decided for the endpoint since the last call. Then it rests no more. */
  noticeDecisions(now: number): boolean {
    const decided = this.#scraper.pool.table.counters.decided(this.slot)
    if (decided === this.#decided) return false
    this.#decided = decided
    // Once what was decided has had time to arrive.
    this.restAtMost(now, 2 * ARRIVAL)
    return true
  }

  /** Asks a resting replica within `ms`; its data begins to age then. */
  restAtMost(now: number, ms: number): void {
    if (this.#rest === 0 || this.#dueAt <= now + ms) return
    this.#turnAt = this.#dueAt = now + ms
    this.#marked = false
    this.#limitSlack(Date.now() + ms)
  }

  /** Does what is due; true while the replica rests. */
  tick(now: number): boolean {
    const connection = this.#connection
    connection.checkTime(now)
    if (!connection.busy && now >= this.#dueAt) this.#scrape(now)
    else if (!this.#marked && now >= this.#dueAt - ARRIVAL) this.#mark()
    if (this.#answered) this.#models?.tick(now)
    return this.#rest > 0 && !connection.busy
  }

  take(bytes: Buffer, start: number, end: number): void {
    this.#parser.take(bytes, start, end)
  }

  answered(status: number): void {
    this.#answered = true
    const page = status === 200 ? this.#parser.finish() : undefined
    if (page === undefined) {
      this.#fail('bad', status === 200 ? `no metrics of ${this.page.name} on the page` : `status ${status}`)
    } else {
      const { pool } = this.#scraper
      pool.scrapeSucceeded(this.slot, this.generation, page, this.#beganAt)
      if (pool.table.currentGeneration[this.slot] === this.generation)
        writeAttributes(pool.table, this.slot, this.page, page.attributes)
      this.#failures = 0
      this.#settle(page.waiting + page.running === 0 && (page.missing & LOAD) === 0)
      this.#scraper.succeeded(this, page.missing, page.invalid)
      if (this.#failing) {
        this.#failing = false
        this.#models?.renew()
        this.#scraper.options.onChange?.(this.address, undefined)
      }
    }
    if (this.#scraper.running) this.#models?.tick(performance.now())
  }

  failed(failure: ScrapeFailure, message: string): void {
    this.#answered = false
    this.#fail(failure === 'refused' ? 'refused' : LOST.has(failure) ? 'lost' : 'bad', message)
  }

  close(): void {
    this.#connection.destroy()
    this.#models?.close()
  }

  get #interval(): number {
    return this.#scraper.intervalMs
  }

  #mark(): void {
    const { pool } = this.#scraper
    pool.scrapeBegan(this.slot)
    this.#markedDecided = pool.table.counters.decided(this.slot)
    this.#marked = true
  }

  #scrape(now: number): void {
    const interval = this.#interval
    const { plan } = this.#scraper
    // From turn to turn, not from now on: delays of the timer must not add up to lost scrapes.
    this.#turnAt += interval
    if (this.#turnAt < now) this.#turnAt = now + interval
    this.#dueAt = this.#jittered(this.#turnAt, interval)
    this.#beganAt = Date.now()
    if (!this.#marked) this.#mark()
    this.#marked = false
    this.#parser.begin()
    this.#connection.get(plan.path, { limit: MAX_PAGE_BYTES, deadline: now + plan.timeoutMs, asker: this })
  }

  /** A good page came: how long may the replica rest? */
  #settle(idle: boolean): void {
    const { table } = this.#scraper.pool
    if (table.currentGeneration[this.slot] !== this.generation) return
    const interval = this.#interval
    const untouched = table.counters.decided(this.slot) === this.#markedDecided && table.inFlight(this.slot) === 0
    const longest = idle && untouched ? this.#scraper.longestRest(performance.now()) : 0
    if (longest <= interval) {
      this.#rest = 0
      table.slack[this.slot] = Math.max(0, interval - this.#scraper.plan.intervalMs)
      return
    }
    this.#rest = Math.min(longest, 2 * Math.max(interval, this.#rest))
    this.#turnAt += this.#rest - interval
    this.#dueAt = this.#jittered(this.#turnAt, this.#rest)
    table.slack[this.slot] = this.#rest * (1 + JITTER) - this.#scraper.plan.intervalMs
  }

  /** The server closed the connection, or died: a resting replica is looked at now. */
  #lookAgain(): void {
    if (this.#rest === 0) return
    const sinceLast = Date.now() - this.#beganAt
    this.restAtMost(performance.now(), Math.max(0, this.#interval - sinceLast))
  }

  #fail(how: ScrapeFailureKind, message: string): void {
    this.#failures++
    this.#rest = 0
    this.#limitSlack(this.#beganAt)
    this.#forget()
    this.#scraper.failed(this, how, message)
    if (!this.#failing) {
      this.#failing = true
      this.#scraper.options.onChange?.(this.address, message)
    }
    const interval = this.#interval
    const wait =
      this.#failures <= PATIENCE
        ? this.#scraper.soonMs
        : Math.min(interval * 2 ** Math.min(this.#failures - PATIENCE, 20), Math.max(interval, MAX_BACKOFF))
    this.#turnAt = performance.now() + wait
    this.#dueAt = this.#jittered(this.#turnAt, interval)
  }

  /** Attributes of a stale endpoint are not known. */
  #forget(): void {
    const { table } = this.#scraper.pool
    if (table.currentGeneration[this.slot] !== this.generation) return
    if (table.age(this.slot, Date.now()) > this.#scraper.plan.staleMs) writeAttributes(table, this.slot, this.page)
  }

  /** What is known of the load is as good as a usual scrape's until `until` (Unix ms), and no longer. */
  #limitSlack(until: number): void {
    const { table } = this.#scraper.pool
    if (table.currentGeneration[this.slot] !== this.generation) return
    table.slack[this.slot] = Math.min(table.slack[this.slot]!, Math.max(0, until - table.scrapedAt[this.slot]!))
  }

  #jittered(turn: number, distance: number): number {
    return turn + distance * JITTER * (this.#scraper.random.below(1000) / 1000)
  }
}
