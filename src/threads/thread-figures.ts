/**
 * What threads say of themselves, in shared memory: a row of floats per thread, written by that thread some times a second and read by
 * the main thread, which zeroes what is not a total when the thread has died.
 */

export const Figure = {
  /** Rises while the event loop turns. */
  BEAT: 0,
  /** ext_proc streams, also those of the thread's predecessors. */
  STREAMS_TOTAL: 1,
  OPEN_STREAMS: 2,
  OPEN_EXCHANGES: 3,
  /** On all ports. */
  CONNECTIONS: 4,
  /** On the port that all threads share. */
  SHARED_CONNECTIONS: 5,
  /** Share of the last second or so in which the event loop was busy, 0 … 1. */
  UTILISATION: 6,
  HEAP_BYTES: 7,
} as const
export type Figure = (typeof Figure)[keyof typeof Figure]

/** Two cache lines a thread. */
const ROW = 16
const GAUGES: readonly Figure[] = [
  Figure.OPEN_STREAMS,
  Figure.OPEN_EXCHANGES,
  Figure.CONNECTIONS,
  Figure.SHARED_CONNECTIONS,
  Figure.UTILISATION,
  Figure.HEAP_BYTES,
]

export function createFiguresMemory(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * ROW * Float64Array.BYTES_PER_ELEMENT)
}

export class ThreadFigures {
  readonly #values: Float64Array

  constructor(memory: SharedArrayBuffer) {
    this.#values = new Float64Array(memory)
  }

  get(thread: number, figure: Figure): number {
    return this.#values[thread * ROW + figure]!
  }

  set(thread: number, figure: Figure, value: number): void {
    this.#values[thread * ROW + figure] = value
  }

  /** Over all threads. */
  sum(figure: Figure): number {
    let sum = 0
    for (let at: number = figure; at < this.#values.length; at += ROW) sum += this.#values[at]!
    return sum
  }

  /** A thread has died: it has nothing open any more. */
  clearGauges(thread: number): void {
    for (const figure of GAUGES) this.set(thread, figure, 0)
  }
}
