/** setTimeout takes no more, ms. */
const LONGEST_MS = 0x7fff_ffff

/** One timer for the first of several moments: an earlier one brings it forward, a later one changes nothing. Keeps no process alive. */
export class DueTimer {
  readonly #fire: () => void
  #timer: NodeJS.Timeout | undefined
  #at = 0

  constructor(fire: () => void) {
    this.#fire = fire
  }

  /** Fires at `at` at the latest, once: both ms of one monotonic clock; infinite: never. */
  setBy(at: number, now: number): void {
    if (at === Number.POSITIVE_INFINITY || (this.#timer !== undefined && at >= this.#at)) return
    clearTimeout(this.#timer)
    this.#at = at
    const fire = () => {
      this.#timer = undefined
      this.#fire()
    }
    this.#timer = setTimeout(fire, Math.min(Math.max(Math.ceil(at - now), 0), LONGEST_MS)).unref()
  }

  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
