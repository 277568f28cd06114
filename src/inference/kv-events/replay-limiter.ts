/** Lets so many at once, and so many of one host: the others wait in order. */
export class ReplayLimiter {
  readonly #limit: number
  readonly #limitOfHost: number
  readonly #inside = new Map<string, number>()
  #count = 0
  readonly #waiting: { readonly host: string; readonly start: () => void }[] = []

  constructor(limit: number, limitOfHost = limit) {
    this.#limit = limit
    this.#limitOfHost = limitOfHost
  }

  /** Calls `begin` when there is room, perhaps at once. The result, called when it is over or not wanted any more, gives the room back. */
  enter(host: string, begin: () => void): () => void {
    let state: 'waiting' | 'inside' | 'out' = 'waiting'
    const entry = {
      host,
      start: () => {
        state = 'inside'
        this.#add(host, 1)
        begin()
      },
    }
    if (this.#hasRoom(host)) entry.start()
    else this.#waiting.push(entry)
    return () => {
      const before = state
      state = 'out'
      if (before === 'waiting') this.#waiting.splice(this.#waiting.indexOf(entry), 1)
      else if (before === 'inside') {
        this.#add(host, -1)
        const next = this.#waiting.findIndex(waiting => this.#hasRoom(waiting.host))
        if (next >= 0) this.#waiting.splice(next, 1)[0]!.start()
      }
    }
  }

  #hasRoom(host: string): boolean {
    return this.#count < this.#limit && (this.#inside.get(host) ?? 0) < this.#limitOfHost
  }

  #add(host: string, change: number): void {
    const inside = (this.#inside.get(host) ?? 0) + change
    this.#count += change
    if (inside === 0) this.#inside.delete(host)
    else this.#inside.set(host, inside)
  }
}
