import type { Buffer } from 'node:buffer'
import { EventBatchParser, type KvEventSink } from './event-batch.ts'
import type { TurnJob, Turns } from './turns.ts'

/** Of any batch, in blocks. */
const BATCH_COST = 1

/** Gives one engine's batches to a sink, one at a time, each in as many turns as it takes. */
export class BatchApplier implements TurnJob {
  busy = false
  spent = 0
  readonly #turns: Turns
  readonly #sink: KvEventSink
  readonly #onDone: (error: Error | undefined) => void
  readonly #parser = new EventBatchParser()

  /** `onDone`: the batch has been given, or why the rest of it could not be; perhaps before `apply` returns. May begin the next one. */
  constructor(turns: Turns, sink: KvEventSink, onDone: (error: Error | undefined) => void) {
    this.#turns = turns
    this.#sink = sink
    this.#onDone = onDone
  }

  /** Not while `busy`. Keeps `payload`. */
  apply(payload: Buffer): void {
    this.busy = true
    this.#parser.begin(payload, this.#sink)
    this.#turns.enter(this)
  }

  /** What was not given yet is not wanted any more; `onDone` is not called. */
  cancel(): void {
    if (!this.busy) return
    this.busy = false
    this.#turns.leave(this)
    this.#parser.giveUp()
  }

  step(): boolean {
    let error: Error | undefined
    let more = false
    try {
      more = this.#parser.step()
    } catch (thrown) {
      error = thrown instanceof Error ? thrown : new Error('a batch that could not be applied', { cause: thrown })
    }
    this.spent = BATCH_COST + this.#parser.spent
    if (more) return true
    this.busy = false
    this.#onDone(error)
    return false
  }
}
