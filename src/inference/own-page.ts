/** A page of replicas, beside the engine's metrics, that a user's own data source reads: its values become attributes of the endpoints. */
import type { EnginePage } from './engine-page.ts'
import { OWN_PLUGINS } from './scheduling/plugins/own-plugins.ts'
import { userFault } from './scheduling/plugins/user-faults.ts'
import type { PluginPlan } from './pool-plan.ts'
import { ATTRIBUTES_PER_ENDPOINT } from './endpoint-table.ts'

/** What `create` of a data source returns. Main thread. */
export interface DataSource {
  readonly path: string
  /** Default: the endpoint's own. */
  readonly port?: number
  /** Default: http. Certificates are not checked. */
  readonly scheme?: 'http' | 'https'
  /** Default: 1,000 ms. */
  readonly intervalMs?: number
  /** Attribute → a family of a Prometheus page, like `my_queue{kind="batch"}`; several series are added up. */
  readonly metrics?: Readonly<Record<string, string>>
  /** Instead of `metrics`: names of the attributes that `extract` finds. */
  readonly attributes?: readonly string[]
  /** Reads a page of any kind. What it leaves out, or throws, is not known. */
  extract?(page: string): Readonly<Record<string, number>>
}

/** Collects pages and has them read by the user's code. */
export class OwnPageReader {
  readonly #type: string
  readonly #source: DataSource | undefined
  readonly #page: EnginePage
  readonly #names: readonly string[]
  readonly #values = new Float64Array(ATTRIBUTES_PER_ENDPOINT)
  #parts: Buffer[] = []

  /** `names`: the pool's attributes. */
  constructor({ type, parameters }: PluginPlan, page: EnginePage, names: readonly string[]) {
    const plugin = OWN_PLUGINS.get(type)
    this.#type = type
    try {
      this.#source = plugin !== undefined && 'createSource' in plugin ? plugin.createSource(parameters) : undefined
    } catch (error) {
      userFault(type, 'create', error)
    }
    this.#page = page
    this.#names = names
  }

  begin(): void {
    this.#parts = []
  }

  take(bytes: Buffer, start: number, end: number): void {
    this.#parts.push(Buffer.from(bytes.subarray(start, end)))
  }

  /** Values by place of the attribute, NaN = not known; undefined: nothing could be read. */
  finish(): Float64Array | undefined {
    const text = Buffer.concat(this.#parts).toString('utf8')
    this.#parts = []
    try {
      const found: unknown = this.#source?.extract?.(text)
      if (typeof found !== 'object' || found === null) throw new TypeError('extract must return an object')
      for (const { index } of this.#page.attributes) {
        const value = (found as Readonly<Record<string, unknown>>)[this.#names[index]!]
        this.#values[index] = typeof value === 'number' && Number.isFinite(value) ? value : Number.NaN
      }
      return this.#values
    } catch (error) {
      userFault(this.#type, 'extract', error)
      return undefined
    }
  }
}
