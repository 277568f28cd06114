import { Buffer } from 'node:buffer'
import type { HeldBudget } from '../extproc/held-budget.ts'

/** A request body, kept to be asked about elsewhere: as long as it is small, and counted with all other bytes held. */
export class BodyCopy {
  readonly #maxBytes: number
  #budget: HeldBudget | undefined
  #parts: Buffer[] = []
  #bytes = 0
  #failed = true

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  begin(budget: HeldBudget): void {
    this.release()
    this.#budget = budget
    this.#failed = false
  }

  add(bytes: Buffer, start: number, end: number): void {
    if (this.#failed || start === end) return
    const size = end - start
    if (this.#bytes + size > this.#maxBytes || !this.#budget!.take(size)) return this.release()
    this.#bytes += size
    this.#parts.push(Buffer.from(bytes.subarray(start, end)))
  }

  /** All of it so far; undefined: it was not kept. */
  whole(): Buffer | undefined {
    return this.#failed || this.#bytes === 0 ? undefined : Buffer.concat(this.#parts, this.#bytes)
  }

  release(): void {
    if (this.#bytes > 0) this.#budget!.give(this.#bytes)
    this.#budget = undefined
    this.#parts = []
    this.#bytes = 0
    this.#failed = true
  }
}
