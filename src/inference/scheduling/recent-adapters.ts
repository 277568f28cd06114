/** The LoRA adapters that each endpoint was sent last, by this thread: those it presumably still has loaded when no request uses them. */

/** Adapters remembered per endpoint; engines hold fewer at once. */
const REMEMBERED = 32

export class RecentAdapters {
  /** `REMEMBERED` ids a slot, the last used first; 0 = none. */
  #ids = new Int32Array(0)
  #generation = new Int32Array(0)

  reserve(capacity: number): void {
    if (this.#generation.length >= capacity) return
    const ids = new Int32Array(capacity * REMEMBERED)
    ids.set(this.#ids)
    this.#ids = ids
    const generation = new Int32Array(capacity)
    generation.set(this.#generation)
    this.#generation = generation
  }

  /** Place of the adapter among those that this tenant of the slot was sent, 0 = the last one; −1 = not remembered. */
  place(slot: number, generation: number, adapter: number): number {
    if (this.#generation[slot] !== generation) return -1
    const start = slot * REMEMBERED
    for (let at = 0; at < REMEMBERED; at++) {
      const id = this.#ids[start + at]
      if (id === adapter) return at
      if (id === 0) return -1
    }
    return -1
  }

  /** How many different adapters the slot was sent, at most `limit`. */
  count(slot: number, generation: number, limit: number): number {
    if (this.#generation[slot] !== generation) return 0
    const most = Math.min(limit, REMEMBERED)
    const start = slot * REMEMBERED
    let count = 0
    while (count < most && this.#ids[start + count] !== 0) count++
    return count
  }

  use(slot: number, generation: number, adapter: number): void {
    const start = slot * REMEMBERED
    if (this.#generation[slot] !== generation) {
      this.#generation[slot] = generation
      this.#ids.fill(0, start, start + REMEMBERED)
    }
    const known = this.place(slot, generation, adapter)
    const last = known < 0 ? REMEMBERED - 1 : known
    this.#ids.copyWithin(start + 1, start, start + last)
    this.#ids[start] = adapter
  }
}
