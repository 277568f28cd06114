/**
 * When a thread sheds a connection. Threads that listen on one port get the connections that the kernel gives them, and a gateway sends
 * all of its streams on one: a thread may be overloaded while others are idle. Then one of its connections is asked to come again, and the
 * kernel chooses anew.
 */

export interface ThreadLoad {
  /** 0 … 1 */
  readonly utilisation: number
  /** On the shared port. */
  readonly connections: number
}

/** Below it a thread serves what it has without delay, however unfair that is. */
const BUSY = 0.6
/** Clearly above the mean of all threads. */
const ABOVE_MEAN = 0.15
/** For so many looks in a row. */
const LOOKS = 3
/** A client that comes again may meet the same thread; more often than this is no help but a nuisance. */
const PAUSE_MS = 5000

export class Shedding {
  readonly #overloaded: number[]
  #pausedUntil = Number.NEGATIVE_INFINITY

  constructor(threads: number) {
    this.#overloaded = Array<number>(threads).fill(0)
  }

  /** Call once a second. Returns the index of a thread that should shed a connection now. */
  look(loads: readonly ThreadLoad[], nowMs: number): number | undefined {
    const mean = loads.reduce((sum, { utilisation }) => sum + utilisation, 0) / loads.length
    let worst: number | undefined
    loads.forEach(({ utilisation, connections }, i) => {
      const overloaded = utilisation >= BUSY && utilisation >= mean + ABOVE_MEAN && connections >= 2
      const looks = overloaded ? this.#overloaded[i]! + 1 : 0
      this.#overloaded[i] = looks
      if (looks < LOOKS) return
      if (worst === undefined || utilisation > loads[worst]!.utilisation) worst = i
    })
    if (worst === undefined || nowMs < this.#pausedUntil) return undefined
    this.#pausedUntil = nowMs + PAUSE_MS
    this.#overloaded[worst] = 0
    return worst
  }
}
