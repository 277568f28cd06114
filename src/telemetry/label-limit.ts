/** Values of a label that clients choose: only so many are told apart, or they would fill all memory. */

/** Distinct values of a thread; what comes later is `OTHER`. */
export const MAX_LABEL_VALUES = 1000
/** Of these, values that nobody knows to be more than an invention of a client. */
export const MAX_UNPROVEN = 50
export const OTHER = 'other'

/** Ticks without a sign of a value, after which another one may have its place: one that is proven, and one that is not. */
const PROVEN_AGE = 60
const UNPROVEN_AGE = 10

/** Values without a place whose requests are counted. */
const MAX_REFUSED = 1000

interface Place {
  /** Ticks. */
  readonly since: number
  seenAt: number
}

/**
 * Most places are for values that have proved to be real (`prove`), so that junk cannot take them all. A value keeps its place while it is
 * seen: there are series of it. Places that become free go to values that were asked for more than once; inventions hardly ever are.
 * Time passes in ticks, a minute each.
 */
export class LabelLimit {
  readonly #most: number
  readonly #mostUnproven: number
  readonly #proven = new Map<string, Place>()
  readonly #unproven = new Map<string, Place>()
  #configured: ReadonlySet<string> = new Set()
  #now = 0
  /** Values that were refused a place: how often, half as much with each tick. */
  readonly #refused = new Map<string, number>()
  /** Those of them that get the next places: as of the latest tick, who asked most at the end. */
  #wanted: string[] = []

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
    // What clients call so is one with the rest: a place for it would make room by taking the rest's counts.
    if (value === OTHER || this.#configured.has(value)) return value
    const place = this.#proven.get(value) ?? this.#unproven.get(value)
    if (place !== undefined) {
      place.seenAt = this.#now
      return value
    }
    if (this.#hasNone) {
      this.#refuse(value)
      return OTHER
    }
    this.#unproven.set(value, { since: this.#now, seenAt: this.#now })
    return value
  }

  /** A request with the value was served: `admit` tells it apart from now on, while there is a place. */
  prove(value: string): void {
    if (value === OTHER || this.#proven.has(value) || this.#configured.has(value)) return
    const place = this.#unproven.get(value)
    if (place === undefined && this.#isFull) {
      this.#refuse(value)
      return
    }
    this.#unproven.delete(value)
    this.#proven.set(value, place ?? { since: this.#now, seenAt: this.#now })
  }

  /** A request with the value was sent on, and nobody will hear whether it was served: real ones come again, inventions hardly. */
  suspect(value: string): void {
    const place = this.#unproven.get(value)
    if (place !== undefined && place.since < this.#now) this.prove(value)
  }

  /** A tick has passed. Returns the values whose places others could have, if others have asked for one: `forget` them one by one. */
  tick(): string[] {
    this.#now++
    if (this.#refused.size === 0) return []
    this.#wanted = [...this.#refused]
      .filter(([, times]) => times > 1)
      .sort(([, a], [, b]) => a - b)
      .map(([value]) => value)
    this.#handOut()
    for (const [value, times] of this.#refused)
      if (times < 0.5) this.#refused.delete(value)
      else this.#refused.set(value, times / 2)
    return [...this.#proven.keys(), ...this.#unproven.keys()].filter(value => this.isAged(value))
  }

  /** The value has a place and was not seen for long. */
  isAged(value: string): boolean {
    const proven = this.#proven.get(value)
    const place = proven ?? this.#unproven.get(value)
    if (place === undefined || this.#configured.has(value)) return false
    return this.#now - place.seenAt >= (proven === undefined ? UNPROVEN_AGE : PROVEN_AGE)
  }

  /** Nothing tells it apart any more: its place is for another one. */
  forget(value: string): void {
    this.#proven.delete(value)
    this.#unproven.delete(value)
    this.#handOut()
  }

  /** Places that are free go to those that asked most. */
  #handOut(): void {
    while (!this.#hasNone) {
      const value = this.#wanted.pop()
      if (value === undefined) return
      this.#refused.delete(value)
      if (this.#proven.has(value) || this.#unproven.has(value)) continue
      this.#unproven.set(value, { since: this.#now, seenAt: this.#now })
    }
  }

  #refuse(value: string): void {
    const times = this.#refused.get(value)
    if (times !== undefined || this.#refused.size < MAX_REFUSED) {
      this.#refused.set(value, (times ?? 0) + 1)
      return
    }
    // Every one pays for the new one, so that those that come often stay.
    for (const [known, count] of this.#refused)
      if (count <= 1) this.#refused.delete(known)
      else this.#refused.set(known, count - 1)
  }

  /** There is no place for one that nobody knows. */
  get #hasNone(): boolean {
    return this.#unproven.size >= this.#mostUnproven || this.#isFull
  }

  get #isFull(): boolean {
    return this.#proven.size + this.#unproven.size >= this.#most
  }
}
