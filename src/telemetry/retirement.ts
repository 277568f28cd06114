import type { LabelLimit } from './label-limit.ts'
import type { SeriesWriter } from './shared-series.ts'
import type { ValueIndex } from './value-index.ts'

/**
 * Gives up values of labels that were not seen for long, a few series at a time: a thread that works on requests never stops for all of
 * them. A value that is seen again before its turn is over keeps its place.
 */
export class Retirement {
  readonly #writer: SeriesWriter
  readonly #limit: LabelLimit
  readonly #index: ValueIndex
  /** Values whose turn comes. */
  #left: string[] = []
  /** The value whose turn it is, and what is to do. */
  #value = ''
  #turn: Generator<undefined, boolean> | undefined

  /** @param labels of these labels are the values that `limit` tells apart */
  constructor(writer: SeriesWriter, limit: LabelLimit, labels: ReadonlySet<string>) {
    this.#writer = writer
    this.#limit = limit
    this.#index = writer.index(labels)
  }

  /** A tick of `LabelLimit` has passed. What is left to do of the one before is among what is to do now. */
  tick(): void {
    this.#left = this.#limit.tick()
    this.#turn = undefined
  }

  /** Looks at not more than `most` values and series. Returns at how many, 0: nothing is to do, or somebody reads. */
  step(most: number): number {
    if ((this.#turn === undefined && this.#left.length === 0) || this.#writer.isRead) return 0
    let done = 0
    // Since the step before, requests may have come.
    if (this.#turn !== undefined && !this.#limit.isAged(this.#value)) this.#turn = undefined
    for (; done < most; done++) {
      if (this.#turn === undefined) {
        const value = this.#left.pop()
        if (value === undefined) break
        if (!this.#limit.isAged(value)) continue
        this.#value = value
        this.#turn = this.#writer.retire(this.#index, value)
      }
      const result = this.#turn.next()
      if (result.done !== true) continue
      this.#turn = undefined
      if (result.value) this.#limit.forget(this.#value)
    }
    return done
  }
}
