import { LabelLimit } from '../telemetry/label-limit.ts'
import type { SeriesWriter } from '../telemetry/shared-series.ts'
import type { Measured } from './measured.ts'
import { FAIRNESS_LABELS, MODEL_LABELS } from './request-families.ts'

/** A tick of `LabelLimit`. */
export const TICK_MS = 60_000

/** Names of models and tenants, which clients choose: which of them a thread tells apart in its metrics. */
export class ClientNames {
  readonly models = new LabelLimit()
  readonly tenants = new LabelLimit()
  readonly #writer: SeriesWriter
  #tickedAt: number

  constructor(writer: SeriesWriter, now: number) {
    this.#writer = writer
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

  /** Before a request is labelled: once a minute, names that were not seen for long make place for others. */
  age(now: number): void {
    if (now - this.#tickedAt < TICK_MS) return
    this.#tickedAt = now
    this.#giveUp(this.models, MODEL_LABELS)
    this.#giveUp(this.tenants, FAIRNESS_LABELS)
  }

  #giveUp(limit: LabelLimit, labels: ReadonlySet<string>): void {
    const aged = limit.tick()
    limit.forget(aged.length > 0 ? this.#writer.retire(labels, aged) : [])
  }
}
