import type { Clock, ClockTimer } from './clock.ts'

interface Entry {
  readonly at: number
  readonly order: number
  readonly action: () => void
}

/** A clock that stands still until it is told to go: for tests. Timers of the same moment run in the order they were set. */
export class VirtualClock implements Clock {
  readonly catchUpMs = 0
  #now = 0
  #order = 0
  #entries: Entry[] = []

  now(): number {
    return this.#now
  }

  after(delay: number, action: () => void): ClockTimer {
    const entry = { at: this.#now + Math.max(0, delay), order: this.#order++, action }
    this.#entries.push(entry)
    return {
      cancel: () => {
        this.#entries = this.#entries.filter(other => other !== entry)
      },
    }
  }

  /** Moves on by `ms`, running what falls due. */
  advance(ms: number): void {
    const end = this.#now + ms
    while (this.#runNext(end));
    this.#now = end
  }

  /** Runs timers until none is left. Throws after `limit` timers, because then something sets them for ever. */
  runUntilIdle(limit = 1_000_000): void {
    for (let count = 0; this.#runNext(Number.POSITIVE_INFINITY); count++) {
      if (count >= limit) throw new Error(`still not idle after ${limit} timers`)
    }
  }

  #runNext(end: number): boolean {
    let next: Entry | undefined
    for (const entry of this.#entries) {
      if (entry.at > end) continue
      if (next === undefined || entry.at < next.at || (entry.at === next.at && entry.order < next.order)) next = entry
    }
    if (next === undefined) return false
    this.#entries = this.#entries.filter(entry => entry !== next)
    this.#now = next.at
    next.action()
    return true
  }
}
