/** Values of a label that clients choose: only so many are told apart, or they would fill all memory. */

/** Distinct values of a process; what comes later is `OTHER`. */
const MAX_LABEL_VALUES = 1000
export const OTHER = 'other'

export class LabelLimit {
  readonly #most: number
  readonly #seen = new Set<string>()
  #configured: ReadonlySet<string> = new Set()

  constructor(most = MAX_LABEL_VALUES) {
    this.#most = most
  }

  /** Names that the configuration has: they never become `other`, and take nobody's place. */
  setConfigured(names: Iterable<string>): void {
    this.#configured = new Set(names)
  }

  /** The value itself, or `other`. Once told apart, a value stays so. */
  admit(value: string): string {
    if (this.#seen.has(value) || this.#configured.has(value)) return value
    if (this.#seen.size >= this.#most) return OTHER
    this.#seen.add(value)
    return value
  }
}
