import { LabelLimit } from '../telemetry/label-limit.ts'
import { Retirement } from '../telemetry/retirement.ts'
import type { SeriesWriter } from '../telemetry/shared-series.ts'
import type { Measured } from './measured.ts'
import { FAIRNESS_LABELS, MODEL_LABELS } from './request-families.ts'

/** A tick of `LabelLimit`. */
export const TICK_MS = 60_000

/** Series that a request looks at for names that make place: some tens of microseconds. */
const STEP = 16

/** Names of models and tenants, which clients choose: which of them a thread tells apart in its metrics. */
export class ClientNames {
  readonly models = new LabelLimit()
  readonly tenants = new LabelLimit()
  readonly #retiredModels: Retirement
  readonly #retiredTenants: Retirement
  #tickedAt: number

  constructor(writer: SeriesWriter, now: number) {
    this.#retiredModels = new Retirement(writer, this.models, MODEL_LABELS)
    this.#retiredTenants = new Retirement(writer, this.tenants, FAIRNESS_LABELS)
    this.#tickedAt = now
  }

  /** An engine has served the request: its names are no inventions. */
  prove({ model, target, fairnessId }: Measured): void {
    this.models.prove(model)
    this.models.prove(target)
    this.tenants.prove(fairnessId)
  }

  /** The request was sent on, and nobody will tell us what becomes of it. */
  suspect({ model, target, fairnessId }: Measured): void {
    this.models.suspect(model)
    this.models.suspect(target)
    this.tenants.suspect(fairnessId)
  }

  /** Before a request is labelled: once a minute, names that were not seen for long make place for others; a few series of them a request. */
  age(now: number): void {
    if (now - this.#tickedAt >= TICK_MS) {
      this.#tickedAt = now
      this.#retiredModels.tick()
      this.#retiredTenants.tick()
    }
    const done = this.#retiredModels.step(STEP)
    if (done < STEP) this.#retiredTenants.step(STEP - done)
  }
}
