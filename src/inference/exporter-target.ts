/** The turns of a further page of an endpoint, like that of a GPU exporter: its values become attributes. */
import { writeAttributes } from './attributes.ts'
import type { EnginePage } from './engine-page.ts'
import { MetricsParser } from './metrics-parser.ts'
import { OwnPageReader } from './own-page.ts'
import type { ExporterPlan } from './pool-plan.ts'
import { ScrapeConnection, type ScrapeRequest } from './scrape-connection.ts'
import { atPort, scrapeTls } from './scrape-tls.ts'
import type { ScrapedPool } from './scraper.ts'

const MAX_PAGE_BYTES = 4 * 1024 * 1024
/** After failures the turns become rarer, up to this; ms. */
const LONGEST_WAIT = 30_000
/** Values older than so many intervals are not known any more. */
const STALE_INTERVALS = 10

export interface ExporterTargetOptions {
  readonly pool: ScrapedPool
  readonly address: string
  readonly slot: number
  readonly generation: number
  readonly exporter: ExporterPlan
  readonly page: EnginePage
}

export class ExporterTarget implements ScrapeRequest {
  readonly #options: ExporterTargetOptions
  readonly #connection: ScrapeConnection
  readonly #parser: MetricsParser | undefined
  readonly #own: OwnPageReader | undefined
  #dueAt = 0
  #failures = 0
  #goodAt = Number.NEGATIVE_INFINITY

  constructor(options: ExporterTargetOptions) {
    const { address, exporter, page } = options
    this.#options = options
    const tls = scrapeTls(exporter.scheme, exporter.tls)
    this.#connection = new ScrapeConnection({ address: atPort(address, exporter.port), tls })
    const { own } = exporter
    this.#parser = own === undefined ? new MetricsParser(page) : undefined
    this.#own = own === undefined ? undefined : new OwnPageReader(own, page, options.pool.plan.scrape.attributes ?? [])
  }

  /** The first turn; later ones keep their distance. */
  plannedFor(turn: number): void {
    if (this.#dueAt === 0) this.#dueAt = turn
  }

  tick(now: number): void {
    const { pool, exporter } = this.#options
    this.#connection.checkTime(now)
    if (this.#connection.busy || now < this.#dueAt) return
    if (now - this.#goodAt > STALE_INTERVALS * exporter.intervalMs) this.#write(undefined)
    this.#dueAt = now + exporter.intervalMs
    this.#parser?.begin()
    this.#own?.begin()
    const deadline = now + pool.plan.scrape.timeoutMs
    this.#connection.get(exporter.path, { limit: MAX_PAGE_BYTES, deadline, asker: this })
  }

  take(bytes: Buffer, start: number, end: number): void {
    this.#parser?.take(bytes, start, end)
    this.#own?.take(bytes, start, end)
  }

  answered(status: number): void {
    const values = status === 200 ? this.#read() : undefined
    if (values === undefined) {
      this.failed()
      return
    }
    this.#failures = 0
    this.#goodAt = performance.now()
    this.#write(values)
  }

  failed(): void {
    this.#failures++
    const { intervalMs } = this.#options.exporter
    const wait = Math.min(intervalMs * 2 ** Math.min(this.#failures, 16), Math.max(LONGEST_WAIT, intervalMs))
    this.#dueAt = performance.now() + wait
  }

  close(): void {
    this.#connection.destroy()
  }

  #read(): Float64Array | undefined {
    return this.#own === undefined ? this.#parser!.finish()?.attributes : this.#own.finish()
  }

  /** Undefined: they are not known any more. */
  #write(values: Float64Array | undefined): void {
    const { pool, slot, generation, page } = this.#options
    const { table } = pool
    if (table.currentGeneration[slot] !== generation) return
    writeAttributes(table, slot, page, values)
  }
}
