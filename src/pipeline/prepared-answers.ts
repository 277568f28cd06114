import type { PreparedAnswer } from '../extproc/prepared-answer.ts'

/**
 * Encoded header answers of one target, by what they depend on: the model, the picked endpoints and why they were picked. The same
 * few come up all the time. Models are named by clients, so all caches of a thread together are bounded: when they are full,
 * all are emptied.
 */

const MAX_ANSWERS = 4096
/** Longer names of models are not worth the memory, UTF-16 units. */
const MAX_MODEL = 256

interface Entry {
  readonly reason: string
  readonly answer: PreparedAnswer
  /** Another reason for the same endpoints. */
  readonly next: Entry | undefined
}

/** Caches of this thread that have something. */
const filled: PreparedAnswers[] = []
let kept = 0

export class PreparedAnswers {
  readonly #models = new Map<string | undefined, Map<string, Entry>>()

  find(model: string | undefined, endpoints: string, reason: string): PreparedAnswer | undefined {
    let entry = this.#models.get(model)?.get(endpoints)
    while (entry !== undefined && entry.reason !== reason) entry = entry.next
    return entry?.answer
  }

  keep(model: string | undefined, endpoints: string, reason: string, answer: PreparedAnswer): void {
    if (model !== undefined && model.length > MAX_MODEL) return
    if (kept === MAX_ANSWERS) {
      for (const cache of filled) cache.#models.clear()
      filled.length = 0
      kept = 0
    }
    kept++
    if (this.#models.size === 0) filled.push(this)
    let answers = this.#models.get(model)
    if (answers === undefined) this.#models.set(model, (answers = new Map<string, Entry>()))
    answers.set(endpoints, { reason, answer, next: answers.get(endpoints) })
  }
}
