/**
 * Bytes that all exchanges of all threads hold together (bodies kept for FULL_DUPLEX_STREAMED, chunks kept for a rewrite). Each thread
 * counts its own in a cell that it alone writes, a cache line apart from the others', and reads all: threads that take at the same
 * time may pass the limit by a piece each. The cell of a thread that has died is set to zero by the main thread.
 */

const CELL = 64 / Float64Array.BYTES_PER_ELEMENT

/** For so many threads. */
export function createHeldMemory(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * CELL * Float64Array.BYTES_PER_ELEMENT)
}

export class HeldBudget {
  readonly limit: number
  readonly #cells: Float64Array
  readonly #own: number

  constructor(limitBytes: number, memory: SharedArrayBuffer = createHeldMemory(1), thread = 0) {
    this.limit = limitBytes
    this.#cells = new Float64Array(memory)
    this.#own = thread * CELL
  }

  /** By this thread. */
  get held(): number {
    return this.#cells[this.#own]!
  }

  get heldByAll(): number {
    let sum = 0
    for (let cell = 0; cell < this.#cells.length; cell += CELL) sum += this.#cells[cell]!
    return sum
  }

  /** Takes `bytes`; false (and nothing taken) when the limit would be passed. */
  take(bytes: number): boolean {
    if (this.heldByAll + bytes > this.limit) return false
    this.#cells[this.#own]! += bytes
    return true
  }

  give(bytes: number): void {
    this.#cells[this.#own]! -= bytes
  }

  /** A thread has died: what it held is free. */
  forget(thread: number): void {
    this.#cells[thread * CELL] = 0
  }
}
