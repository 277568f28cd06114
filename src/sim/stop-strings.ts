/**
 * The text of one answer on its way out. Text that could be the beginning of a stop string is held back until it turns out not
 * to be one; a stop string itself is never let out (unless `include` says so), and nothing after it is.
 */
export class StopStrings {
  readonly #stops: readonly string[]
  readonly #include: boolean
  #held = ''
  /** The stop string that was found. */
  found: string | undefined

  constructor(stops: readonly string[], include: boolean) {
    this.#stops = stops
    this.#include = include
  }

  /** Takes more text and returns what may leave. `last`: no more will come, so nothing is held back. */
  push(text: string, last: boolean): string {
    if (this.found !== undefined) return ''
    this.#held += text
    const first = this.#firstMatch()
    if (first !== undefined) {
      this.found = first.stop
      return this.#held.slice(0, first.at + (this.#include ? first.stop.length : 0))
    }
    const keep = last ? 0 : this.#possibleStart()
    const out = this.#held.slice(0, this.#held.length - keep)
    this.#held = this.#held.slice(this.#held.length - keep)
    return out
  }

  #firstMatch(): { stop: string; at: number } | undefined {
    let best: { stop: string; at: number } | undefined
    for (const stop of this.#stops) {
      const at = this.#held.indexOf(stop)
      if (at >= 0 && (best === undefined || at < best.at)) best = { stop, at }
    }
    return best
  }

  /** Length of the longest end of the held text that begins a stop string. */
  #possibleStart(): number {
    let longest = 0
    for (const stop of this.#stops) {
      for (let size = Math.min(stop.length - 1, this.#held.length); size > longest; size--) {
        if (this.#held.endsWith(stop.slice(0, size))) longest = size
      }
    }
    return longest
  }
}
