/** Bytes that all exchanges of a thread hold together (bodies kept for FULL_DUPLEX_STREAMED, chunks kept for a rewrite). */
export class HeldBudget {
  readonly limit: number
  #held = 0

  constructor(limitBytes: number) {
    this.limit = limitBytes
  }

  get held(): number {
    return this.#held
  }

  /** Takes `bytes`; false (and nothing taken) when the limit would be passed. */
  take(bytes: number): boolean {
    if (this.#held + bytes > this.limit) return false
    this.#held += bytes
    return true
  }

  give(bytes: number): void {
    this.#held -= bytes
  }
}
