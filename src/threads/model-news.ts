import type { PoolKeeper } from '../inference/pool-keeper.ts'
import type { PoolModels } from '../inference/pool-share.ts'

/** Whoever is told takes about this long for each endpoint's list, at the most; ms. News fill a tenth of the time then. */
const PER_LIST_MS = 0.1
/** Shorter pauses are none. */
const SHORTEST_MS = 10

/**
 * Tells of the models that a pool's endpoints list: at once, but where a pool has thousands of endpoints, which all list theirs within
 * seconds, what changes meanwhile is told together.
 */
export class ModelNews {
  readonly #tell: (keeper: PoolKeeper, models: PoolModels) => void
  /** Pools that were told of lately; whether there is something newer. */
  readonly #pausing = new Map<PoolKeeper, { newer: boolean; readonly timer: NodeJS.Timeout }>()

  constructor(tell: (keeper: PoolKeeper, models: PoolModels) => void) {
    this.#tell = tell
  }

  /** The models of a pool have changed. */
  changed(keeper: PoolKeeper): void {
    const pause = this.#pausing.get(keeper)
    if (pause !== undefined) {
      pause.newer = true
      return
    }
    const models = keeper.models()
    this.#tell(keeper, models)
    const ms = models.lists.length * PER_LIST_MS
    if (ms < SHORTEST_MS) return
    const timer = setTimeout(() => {
      const { newer } = this.#pausing.get(keeper)!
      this.#pausing.delete(keeper)
      if (newer) this.changed(keeper)
    }, ms).unref()
    this.#pausing.set(keeper, { newer: false, timer })
  }

  stop(): void {
    for (const { timer } of this.#pausing.values()) clearTimeout(timer)
    this.#pausing.clear()
  }
}
