/** Lets so many errors through in a while: whoever can reach a port must not be able to fill our log. */
export class ErrorValve {
  readonly #most: number
  readonly #periodMs: number
  #since = 0
  #passed = 0
  #kept = 0

  constructor(most: number, periodMs: number) {
    this.#most = most
    this.#periodMs = periodMs
  }

  /** How many were kept back since the last one that passed; undefined: this one is kept back too. `now`: ms. */
  pass(now: number): number | undefined {
    if (now - this.#since >= this.#periodMs) {
      this.#since = now
      this.#passed = 0
    }
    if (this.#passed >= this.#most) {
      this.#kept++
      return undefined
    }
    this.#passed++
    const kept = this.#kept
    this.#kept = 0
    return kept
  }
}
