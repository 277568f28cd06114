/**
 * Prefills that were decided and are not done: for each endpoint the time at which it will have done them, as all threads together have
 * decided. Shared memory, times in eighths of a millisecond modulo 2³²: only differences mean anything, and one of more than
 * `LONGEST_MS` is a leftover of days ago.
 */
const UNITS = 8
const LONGEST_MS = 600_000
/** Fading in smaller steps would be lost in rounding, ms. */
const LEAST_FADE_MS = 20
const WORK = 0
const WORK_AT = 1
const HEAD = 2

export class PrefillBacklog {
  #memory: Int32Array = new Int32Array(0)

  static words(capacity: number): number {
    return HEAD + capacity
  }

  /** `words` of the table's capacity. */
  attach(memory: Int32Array): void {
    this.#memory = memory
  }

  /**
   * Prefill that the endpoint has to do before a request that is decided now, ms. `inFlight`: requests that are there; where there are none, all that
   * was decided is done, however long it was thought to take.
   */
  ahead(slot: number, nowMs: number, inFlight: number): number {
    if (inFlight <= 0) return 0
    const left = (this.#memory[HEAD + slot]! - nowMs * UNITS) | 0
    return left <= 0 || left > LONGEST_MS * UNITS ? 0 : left / UNITS
  }

  /** A prefill of so many ms was decided. `inFlight`: requests that were there before. */
  add(slot: number, ms: number, nowMs: number, inFlight: number): void {
    const memory = this.#memory
    const own = Math.min(ms, LONGEST_MS)
    const done = (nowMs + Math.min(LONGEST_MS, this.ahead(slot, nowMs, inFlight) + own)) * UNITS
    Atomics.store(memory, HEAD + slot, done | 0)
    Atomics.add(memory, WORK, Math.round(own * UNITS))
  }

  /** Share of their time that so many endpoints prefill, as decided in about the last `memoryMs`; more than 1 where they cannot. */
  share(endpoints: number, nowMs: number, memoryMs: number): number {
    const memory = this.#memory
    const at = memory[WORK_AT]!
    const passed = ((nowMs * UNITS - at) | 0) / UNITS
    // Of two threads that come at once one fades what was.
    if (
      (passed >= LEAST_FADE_MS || passed < 0) &&
      Atomics.compareExchange(memory, WORK_AT, at, (nowMs * UNITS) | 0) === at
    ) {
      const gone = passed < 0 ? 1 : Math.min(1, passed / memoryMs)
      Atomics.sub(memory, WORK, Math.ceil(Math.max(0, memory[WORK]!) * gone))
    }
    return Math.max(0, memory[WORK]!) / (UNITS * memoryMs * Math.max(1, endpoints))
  }
}
