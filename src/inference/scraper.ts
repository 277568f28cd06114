/**
 * Reads metrics and model lists of a pool's endpoints. One timer for all of them.
 *
 * Budget: 100 endpoints every 50 ms with a vLLM page of 403 lines in 0.11 core, none lost, and 0.05 core while none of them does anything
 * (`test/bench/scrape.bench.ts`). Most of it is the kernel's: each turn of the timer, and each answer that comes alone, wakes the thread.
 */
import { EnginePage } from './engine-page.ts'
import { DEFAULT_ENGINES, engineOf } from './engines.ts'
import type { EnginesPlan, ScrapePlan } from './pool-plan.ts'
import type { PoolKeeper } from './pool-keeper.ts'
import type { ScrapeFailureKind } from './reachability.ts'
import { SIGNAL_NAMES } from './replica-metrics.ts'
import { Random } from './scheduling/random.ts'
import { ExporterTarget } from './exporter-target.ts'
import { ScrapeTarget } from './scrape-target.ts'
import { FADE_STEP_MS } from './unseen-counts.ts'

/** `Pool.relist` makes each endpoint be asked at most this often, ms. */
const RELIST_INTERVAL = 1000
/** … and in a pool of thousands after so many turns. */
const RELIST_TURNS = 5
/** The timer's steps, ms: this part of the interval, as what is asked together is mostly answered together, … */
const STEPS = 5
/** … within these bounds, and the longest while everything rests. */
const SHORTEST_STEP = 2
const LONGEST_STEP = 50
const RESTING_STEP = 20
/** A tick that comes so much late shows that the thread stood still, ms. */
const STALL_MS = 200
/** While requests are decided, replicas without load rest this many intervals at most. */
const ACTIVE_REST = 4
/** How long the pool counts as active after a decision, ms. */
const ACTIVE_MS = 2000
/** However many replicas rest: one of them is asked every so many ms. */
const RESTING_PACE_MS = 1
/** … and of those that work, however many there are: a main thread must not drown in thousands. */
const PACE_MS = 0.2
/** New endpoints and the first failures are looked at this soon, ms: a dead one must be found out quickly however long the interval is. */
const SOON_MS = 100

export interface ScraperStats {
  /** Good scrapes. */
  readonly good: number
  readonly failed: number
  /** The last failure's `address: message`. */
  readonly lastError: string
  /** Good scrapes that lacked a signal, or said something of it that makes no sense, by name (`SIGNAL_NAMES`). */
  readonly missing: ReadonlyMap<string, number>
  readonly invalid: ReadonlyMap<string, number>
}

/** The pool that is read. */
export type ScrapedPool = Pick<
  PoolKeeper,
  'plan' | 'table' | 'scrapeBegan' | 'scrapeSucceeded' | 'scrapeFailed' | 'fadeUnseen' | 'listed' | 'takeRelist'
>

export interface ScraperOptions {
  /** Told of an endpoint's first failure after a good scrape, and of its return. For the log. */
  readonly onChange?: (address: string, error: string | undefined) => void
  /** Told when what an endpoint's good pages lack changes; empty: nothing any more. For the log. */
  readonly onIncomplete?: (address: string, problem: string) => void
  readonly seed?: number
}

/** What the targets of one scraper share. */
export class Scraper {
  readonly pool: ScrapedPool
  readonly options: ScraperOptions
  readonly random: Random
  readonly #targets = new Map<string, ScrapeTarget>()
  readonly #exporters = new Map<string, ExporterTarget[]>()
  #pages = new Map<string, EnginePage>()
  /** What the pages and connections were made of. */
  #made: ScrapePlan | undefined
  #engines: EnginesPlan = DEFAULT_ENGINES
  #timer: NodeJS.Timeout | undefined
  /** When the next tick should come. */
  #dueAt = Number.POSITIVE_INFINITY
  /** When counts of endpoints that tell nothing fade next. */
  #fadeAt = 0
  #running = false
  #activeUntil = 0
  #good = 0
  #failed = 0
  #lastError = ''
  readonly #missing = new Map<string, number>()
  readonly #invalid = new Map<string, number>()

  constructor(pool: ScrapedPool, options: ScraperOptions = {}) {
    this.pool = pool
    this.options = options
    this.random = new Random(options.seed ?? 1)
  }

  get stats(): ScraperStats {
    return {
      good: this.#good,
      failed: this.#failed,
      lastError: this.#lastError,
      missing: this.#missing,
      invalid: this.#invalid,
    }
  }

  get running(): boolean {
    return this.#running
  }

  get plan(): ScrapePlan {
    return this.pool.plan.scrape
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
    this.#dueAt = Number.POSITIVE_INFINITY
    this.#clear()
  }

  /** Follows the pool's endpoints and plan; call after each `PoolKeeper.update`. */
  update(): void {
    if (!this.#running) return
    const { table } = this.pool
    if (this.#made === undefined || connects(this.#made) !== connects(this.plan)) {
      this.#clear()
      this.#engines = this.plan.engines ?? DEFAULT_ENGINES
      this.#pages = new Map()
    }
    this.#made = this.plan
    for (const [address, target] of this.#targets) {
      const slot = table.slotOf(address)
      const stays = slot === target.slot && table.generation[slot] === target.generation
      if (stays && this.#pageOf(target.slot) === target.page) continue
      this.#remove(address)
    }
    const now = performance.now()
    const live = this.plan.off === true ? 0 : table.liveCount
    for (let i = 0; i < live; i++) {
      const slot = table.live[i]!
      const address = table.address(slot)!
      if (!this.#targets.has(address)) this.#add(address, slot)
    }
    // New endpoints are asked at once, a few in each tick; their later turns keep the distance.
    let place = 0
    for (const target of this.#targets.values()) {
      const turn = now + (this.intervalMs * place) / this.#targets.size
      target.plannedFor(now, turn, now + (this.soonMs * place) / this.#targets.size)
      for (const exporter of this.#exporters.get(target.address) ?? []) exporter.plannedFor(turn)
      place++
    }
    clearTimeout(this.#timer)
    this.#tick()
  }

  /** @internal for the targets */
  succeeded(target: ScrapeTarget, missing: number, invalid: number): void {
    this.#good++
    if ((missing | invalid) !== 0) {
      count(this.#missing, missing)
      count(this.#invalid, invalid)
    }
    if (target.missing === missing && target.invalid === invalid) return
    target.missing = missing
    target.invalid = invalid
    const lacks = names(missing)
    const wrong = names(invalid)
    const parts = [
      lacks.length === 0 ? [] : [`no ${lacks.join(', ')}`],
      wrong.length === 0 ? [] : [`a value that makes no sense of ${wrong.join(', ')}`],
    ]
    this.options.onIncomplete?.(target.address, parts.flat().join('; '))
  }

  /** @internal for the targets */
  failed(target: ScrapeTarget, how: ScrapeFailureKind, message: string): void {
    this.#failed++
    this.#lastError = `${target.address}: ${message}`
    this.pool.scrapeFailed(target.slot, target.generation, how)
  }

  /** @internal for the targets: time between two turns, ms: the plan's, or more where there are very many. */
  get intervalMs(): number {
    return Math.max(this.plan.intervalMs, this.#targets.size * PACE_MS)
  }

  /** @internal for the targets: within which time those are asked that are new, or failed once or twice, ms. */
  get soonMs(): number {
    return Math.min(this.intervalMs, Math.max(SOON_MS, this.#targets.size * PACE_MS))
  }

  /** @internal for the targets: how long a replica without load may rest, ms. */
  longestRest(now: number): number {
    const { intervalMs } = this
    const { idleIntervalMs = 0 } = this.plan
    const idle = Math.max(intervalMs, idleIntervalMs, idleIntervalMs > 0 ? this.#targets.size * RESTING_PACE_MS : 0)
    return now < this.#activeUntil ? Math.min(idle, intervalMs * ACTIVE_REST) : idle
  }

  #add(address: string, slot: number): void {
    const { plan } = this
    const generation = this.pool.table.generation[slot]!
    this.#targets.set(address, new ScrapeTarget(this, { address, slot, generation, page: this.#pageOf(slot) }))
    const exporters = plan.exporters ?? []
    if (exporters.length > 0)
      this.#exporters.set(
        address,
        exporters.map(exporter => {
          const page = new EnginePage({ name: 'exporter', custom: exporter.metrics }, plan.attributes)
          return new ExporterTarget({ pool: this.pool, address, slot, generation, exporter, page })
        }),
      )
  }

  #remove(address: string): void {
    this.#targets.get(address)?.close()
    this.#targets.delete(address)
    for (const exporter of this.#exporters.get(address) ?? []) exporter.close()
    this.#exporters.delete(address)
  }

  #clear(): void {
    for (const address of this.#targets.keys()) this.#remove(address)
    this.#made = undefined
  }

  #pageOf(slot: number): EnginePage {
    const engine = engineOf(this.#engines, this.pool.table.labels(slot) ?? {})
    let page = this.#pages.get(engine.name)
    if (page !== undefined) return page
    const { tokenTimes: _, ...rest } = engine
    page = new EnginePage(this.plan.tokenTimes === true ? engine : rest, this.plan.attributes)
    this.#pages.set(engine.name, page)
    return page
  }

  /** Reads the models of all endpoints soon, but not more often than once a second. */
  #relist(now: number): void {
    for (const target of this.#targets.values())
      target.relist(now, Math.max(RELIST_INTERVAL, RELIST_TURNS * this.intervalMs))
  }

  #tick(): void {
    const now = performance.now()
    // After a stall answers that came in time may still wait to be read: they go first, or every scrape under way would count as failed.
    if (now - this.#dueAt > STALL_MS) {
      this.#schedule(1)
      // Once: a thread that is always late must scrape all the same.
      this.#dueAt = Number.POSITIVE_INFINITY
      return
    }
    if (this.pool.takeRelist()) this.#relist(now)
    if (now >= this.#fadeAt) {
      this.#fadeAt = now + FADE_STEP_MS
      this.pool.fadeUnseen(Date.now())
    }
    let decided = false
    for (const target of this.#targets.values()) if (target.noticeDecisions(now)) decided = true
    if (decided) this.#wake(now)
    let resting = true
    for (const target of this.#targets.values()) if (!target.tick(now)) resting = false
    for (const exporters of this.#exporters.values()) for (const exporter of exporters) exporter.tick(now)
    const step = Math.min(LONGEST_STEP, Math.max(SHORTEST_STEP, this.intervalMs / STEPS))
    this.#schedule(resting ? Math.max(step, RESTING_STEP) : step)
  }

  #schedule(afterMs: number): void {
    this.#dueAt = performance.now() + afterMs
    this.#timer = setTimeout(() => this.#tick(), afterMs)
  }

  /** Requests are decided: what is known of replicas that rested should soon be as fresh as an active pool's. */
  #wake(now: number): void {
    const woken = now >= this.#activeUntil
    this.#activeUntil = now + ACTIVE_MS
    if (!woken) return
    let place = 0
    for (const target of this.#targets.values())
      target.restAtMost(now, (this.intervalMs * place++) / this.#targets.size)
  }
}

/** What connections and readers of pages are made of, as text. */
function connects({ off, scheme, port, tls, engines, models, exporters, attributes, tokenTimes }: ScrapePlan): string {
  return JSON.stringify([off, scheme, port, tls, engines, models, exporters, attributes, tokenTimes])
}

function names(bits: number): string[] {
  return SIGNAL_NAMES.filter((_, bit) => (bits & (1 << bit)) !== 0)
}

function count(counts: Map<string, number>, bits: number): void {
  for (const name of names(bits)) counts.set(name, (counts.get(name) ?? 0) + 1)
}
