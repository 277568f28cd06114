/** Values of a label that clients choose: only so many are told apart, or they would fill all memory. */

/** Distinct values of a thread; what comes later is `OTHER`. */
export const MAX_LABEL_VALUES = 1000
/** Of these, values that nobody knows to be more than an invention of a client. */
export const MAX_UNPROVEN = 50
export const OTHER = 'other'

/**
 * Most places are for values that have proved to be real (`prove`), so that junk cannot take them all. Once told apart, a value stays so:
 * there are series of it.
 */
export class LabelLimit {
  readonly #most: number
  readonly #mostUnproven: number
  readonly #proven = new Set<string>()
  readonly #unproven = new Set<string>()
  #configured: ReadonlySet<string> = new Set()

  constructor(most = MAX_LABEL_VALUES, mostUnproven = MAX_UNPROVEN) {
    this.#most = most
    this.#mostUnproven = mostUnproven
  }

  /** Names that the configuration has: they never become `other`, and take nobody's place. */
  setConfigured(names: Iterable<string>): void {
    this.#configured = new Set(names)
  }

  /** The value itself, or `other`. */
  admit(value: string): string {
    if (this.#knows(value)) return value
    if (this.#unproven.size >= this.#mostUnproven || this.#full) return OTHER
    this.#unproven.add(value)
    return value
  }

  /** A request with the value was served: `admit` tells it apart from now on, while there is a place. */
  prove(value: string): void {
    if (this.#proven.has(value) || this.#configured.has(value)) return
    if (!this.#unproven.delete(value) && this.#full) return
    this.#proven.add(value)
  }

  #knows(value: string): boolean {
    return this.#proven.has(value) || this.#configured.has(value) || this.#unproven.has(value)
  }

  get #full(): boolean {
    return this.#proven.size + this.#unproven.size >= this.#most
  }
}
