/** The turns of one endpoint's list of models, on the connection of its metrics where both are at the same place. */
import { CollectedBody } from './collected-body.ts'
import { parseModelList } from './model-list.ts'
import type { ScrapePlan } from './pool-plan.ts'
import { ScrapeConnection, type ScrapeFailure, type ScrapeRequest } from './scrape-connection.ts'
import { atPort, scrapeTls } from './scrape-tls.ts'
import type { ServedModel } from './model-list.ts'

const MAX_LIST_BYTES = 1024 * 1024
const MODELS_PATH = '/v1/models'

export interface ModelsTargetOptions {
  readonly address: string
  readonly plan: ScrapePlan
  /** The connection of the metrics, to `metricsAt`. */
  readonly connection: ScrapeConnection
  readonly metricsAt: string
  readonly listed: (models: readonly ServedModel[]) => void
  /** Nobody listens there. */
  readonly refused: (message: string) => void
}

export class ModelsTarget implements ScrapeRequest {
  readonly #connection: ScrapeConnection
  readonly #own: boolean
  readonly #path: string
  readonly #intervalMs: number
  readonly #timeoutMs: number
  readonly #options: ModelsTargetOptions
  readonly #body = new CollectedBody()
  #dueAt = 0
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(options: ModelsTargetOptions) {
    const { address, plan, connection, metricsAt } = options
    const source = plan.models === false ? undefined : plan.models
    const at = atPort(address, source?.port)
    const scheme = source?.scheme ?? plan.scheme ?? 'http'
    const tls = source === undefined ? plan.tls : source.tls
    const same =
      at === metricsAt && scheme === (plan.scheme ?? 'http') && JSON.stringify(tls) === JSON.stringify(plan.tls)
    this.#options = options
    this.#own = !same
    this.#connection = same ? connection : new ScrapeConnection({ address: at, tls: scrapeTls(scheme, tls) })
    this.#path = source?.path ?? MODELS_PATH
    this.#intervalMs = source?.intervalMs ?? plan.modelsIntervalMs
    this.#timeoutMs = plan.timeoutMs
  }

  /** Asks when the list is due. */
  tick(now: number): void {
    if (this.#own) this.#connection.checkTime(now)
    if (now < this.#dueAt || this.#connection.busy) return
    this.#dueAt = now + this.#intervalMs
    this.#askedAt = now
    this.#body.finish()
    this.#connection.get(this.#path, { limit: MAX_LIST_BYTES, deadline: now + this.#timeoutMs, asker: this })
  }

  /** Makes the list due, unless it was asked for within `interval` ms. */
  relist(now: number, interval: number): void {
    if (now - this.#askedAt >= interval) this.#dueAt = now
  }

  /** The server may have been started anew, with other models. */
  renew(): void {
    this.#dueAt = 0
  }

  take(bytes: Buffer, start: number, end: number): void {
    this.#body.take(bytes, start, end)
  }

  answered(status: number): void {
    // A server without a list of models is no failure: it merely never lists any.
    const body = this.#body.finish()
    const models = status === 200 ? parseModelList(body) : undefined
    if (models !== undefined) this.#options.listed(models)
  }

  failed(failure: ScrapeFailure, message: string): void {
    if (failure === 'refused' && !this.#own) this.#options.refused(message)
  }

  close(): void {
    if (this.#own) this.#connection.destroy()
  }
}
