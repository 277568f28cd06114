/** Lets so many at once; the others wait in order. */
export class ReplayLimiter {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(limit: number) {
    this.#free = limit
  }

  /** Calls `begin` when there is room, perhaps at once. The result, called when it is over or not wanted any more, gives the room back. */
  enter(begin: () => void): () => void {
    let state: 'waiting' | 'inside' | 'out' = 'waiting'
    const start = () => {
      state = 'inside'
      begin()
    }
    if (this.#free > 0) {
      this.#free--
      start()
    } else this.#waiting.push(start)
    return () => {
      const before = state
      state = 'out'
      if (before === 'waiting') this.#waiting.splice(this.#waiting.indexOf(start), 1)
      else if (before === 'inside') {
        const next = this.#waiting.shift()
        if (next === undefined) this.#free++
        else next()
      }
    }
  }
}
