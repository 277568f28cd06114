import type { PoolPlan } from '../inference/pool-plan.ts'
import { LabelLimit, MAX_LABEL_VALUES, MAX_UNPROVEN } from '../telemetry/label-limit.ts'
import { SeriesTotals } from '../telemetry/series-totals.ts'
import { FAIRNESS_LABELS, MODEL_LABELS, REQUEST_FAMILIES } from './request-families.ts'
import { modelsOf } from './rewrite.ts'

interface ConfiguredNames {
  models: readonly string[]
  /** Of the values that are told apart now. */
  limit: LabelLimit | undefined
}

/** What `RequestMetrics` has counted on all threads. Each thread tells so many values of a label apart; here they become as many for the process. */
export class RequestTotals extends SeriesTotals {
  readonly #names: ConfiguredNames
  #fresh = false

  constructor(memories: readonly SharedArrayBuffer[]) {
    // What threads have told apart before it proved to be real shall take no place of what did.
    const most = MAX_LABEL_VALUES + memories.length * MAX_UNPROVEN
    const names: ConfiguredNames = { models: [], limit: undefined }
    super(REQUEST_FAMILIES, memories, () => {
      const models = new LabelLimit(most, most)
      const fairness = new LabelLimit(most, most)
      models.setConfigured(names.models)
      names.limit = models
      return (label, value) => {
        if (FAIRNESS_LABELS.has(label)) return fairness.admit(value)
        return MODEL_LABELS.has(label) ? models.admit(value) : value
      }
    })
    this.#names = names
  }

  /** Models that these pools' configuration names never become `other`. */
  setConfigured(pools: readonly PoolPlan[]): void {
    this.#names.models = pools.flatMap(({ rewrites }) => rewrites.flatMap(modelsOf))
    this.#names.limit?.setConfigured(this.#names.models)
  }

  threadDied(index: number): void {
    this.clearGauges(index)
  }

  /** Once for all families of a page: those are asked for in one turn of the event loop. */
  override refresh(): void {
    if (this.#fresh) return
    this.#fresh = true
    setImmediate(() => {
      this.#fresh = false
    })
    super.refresh()
  }
}
