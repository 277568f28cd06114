/**
 * The LoRA adapters that each endpoint was sent last: those it presumably still has loaded when no request uses them. In memory that
 * all threads share, written without locks: two threads that write one endpoint's list at once may lose an adapter, or note one twice.
 */

/** Adapters remembered per endpoint; engines hold fewer at once. */
const REMEMBERED = 32
/** A slot's words: the tenant's generation, and the ids, the last used first; 0 = none. */
const WORDS = 1 + REMEMBERED

export class RecentAdapters {
  #memory: Int32Array = new Int32Array(0)

  static words(capacity: number): number {
    return capacity * WORDS
  }

  /** `words` of the table's capacity. */
  attach(memory: Int32Array): void {
    this.#memory = memory
  }

  /** Place of the adapter among those that this tenant of the slot was sent, 0 = the last one; −1 = not remembered. */
  place(slot: number, generation: number, adapter: number): number {
    const memory = this.#memory
    const start = slot * WORDS
    if (memory[start] !== generation) return -1
    for (let at = 0; at < REMEMBERED; at++) {
      const id = memory[start + 1 + at]
      if (id === adapter) return at
      if (id === 0) return -1
    }
    return -1
  }

  /** How many different adapters the slot was sent, at most `limit`. */
  count(slot: number, generation: number, limit: number): number {
    const memory = this.#memory
    const start = slot * WORDS
    if (memory[start] !== generation) return 0
    const most = Math.min(limit, REMEMBERED)
    let count = 0
    while (count < most && memory[start + 1 + count] !== 0) count++
    return count
  }

  use(slot: number, generation: number, adapter: number): void {
    const memory = this.#memory
    const start = slot * WORDS
    if (memory[start] !== generation) {
      memory.fill(0, start + 1, start + WORDS)
      memory[start] = generation
    }
    const known = this.place(slot, generation, adapter)
    const last = known < 0 ? REMEMBERED - 1 : known
    memory.copyWithin(start + 2, start + 1, start + 1 + last)
    memory[start + 1] = adapter
  }
}
