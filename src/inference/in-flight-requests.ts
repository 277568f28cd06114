/**
 * How many requests of a pool are on their way, wherever they were sent: one that several replicas take part in counts once, and one whose endpoint
 * has left the plan counts until it is over. Each thread counts in a cell that it alone writes, a cache line apart from the others';
 * all read all. Numbers run modulo 2³². Of no use where scrapes release: those tell of endpoints, not of requests.
 *
 * A last cell has what other replicas of Signalbox have on their way, as the main thread hears of it.
 */
const CELL = 64 / Int32Array.BYTES_PER_ELEMENT
const BEGUN = 0
const OVER = 1

export function createInFlightMemory(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer((threads + 1) * CELL * Int32Array.BYTES_PER_ELEMENT)
}

export class InFlightRequests {
  readonly #cells: Int32Array
  readonly #peers: Int32Array
  readonly #own: number

  constructor(memory: SharedArrayBuffer, thread: number) {
    const words = new Int32Array(memory)
    this.#cells = words.subarray(0, -CELL)
    this.#peers = words.subarray(-CELL)
    this.#own = thread * CELL
  }

  /** Of all threads. */
  get count(): number {
    const cells = this.#cells
    let sum = 0
    for (let cell = 0; cell < cells.length; cell += CELL) sum += cells[cell + BEGUN]! - cells[cell + OVER]!
    return Math.max(0, sum | 0)
  }

  /** Of other replicas. */
  get peers(): number {
    return Math.max(0, this.#peers[0]!)
  }

  /** The main thread: those of other replicas have become so many more, or fewer. */
  addPeers(requests: number): void {
    this.#peers[0]! += requests
  }

  begin(): void {
    this.#cells[this.#own + BEGUN]! += 1
  }

  /** Never more than there are: an end that comes twice must not hide the next requests. */
  end(requests = 1): void {
    this.#cells[this.#own + OVER]! += Math.min(requests, this.count)
  }

  /** The main thread, before a successor counts: those of a thread that has died, and of which nobody else will tell, are over. */
  threadDied(thread: number): void {
    const cell = thread * CELL
    this.#cells[cell + OVER] = this.#cells[cell + BEGUN]!
  }
}
