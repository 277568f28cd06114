import type { FlowEntry } from './flow-entry.ts'

/** Does `a` go before `b`? */
function goesBefore(a: FlowEntry, b: FlowEntry): boolean {
  return a.key === b.key ? a.sequence < b.sequence : a.key < b.key
}

/** A binary heap of waiting requests by `key`, then `sequence`. Any of them can be taken out: each knows its place. */
export class EntryHeap {
  readonly #entries: FlowEntry[] = []

  get size(): number {
    return this.#entries.length
  }

  /** The next one. */
  get head(): FlowEntry | undefined {
    return this.#entries[0]
  }

  [Symbol.iterator](): IterableIterator<FlowEntry> {
    return this.#entries.values()
  }

  push(entry: FlowEntry): void {
    this.#entries.push(entry)
    this.#rise(entry, this.#entries.length - 1)
  }

  /** Takes out one that is in this heap. */
  remove(entry: FlowEntry): void {
    const { place } = entry
    const last = this.#entries.pop()!
    entry.place = -1
    if (last === entry) return
    this.#sink(last, place)
    this.#rise(last, last.place)
  }

  #rise(entry: FlowEntry, from: number): void {
    const entries = this.#entries
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = entries[above]!
      if (!goesBefore(entry, parent)) break
      entries[place] = parent
      parent.place = place
      place = above
    }
    entries[place] = entry
    entry.place = place
  }

  #sink(entry: FlowEntry, from: number): void {
    const entries = this.#entries
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= entries.length) break
      if (below + 1 < entries.length && goesBefore(entries[below + 1]!, entries[below]!)) below++
      const child = entries[below]!
      if (!goesBefore(child, entry)) break
      entries[place] = child
      child.place = place
      place = below
    }
    entries[place] = entry
    entry.place = place
  }
}
