/** What a heap can hold: it writes `place`, −1 = in none. */
export interface HeapEntry {
  readonly key: number
  readonly sequence: number
  place: number
}

/** Does `a` go before `b`? */
function goesBefore(a: HeapEntry, b: HeapEntry): boolean {
  return a.key === b.key ? a.sequence < b.sequence : a.key < b.key
}

/** A binary heap of requests by `key`, then `sequence`. Any of them can be taken out: each knows its place. */
export class EntryHeap<Entry extends HeapEntry> {
  readonly #entries: Entry[] = []

  get size(): number {
    return this.#entries.length
  }

  /** The next one. */
  get head(): Entry | undefined {
    return this.#entries[0]
  }

  /** The one after it. */
  get second(): Entry | undefined {
    const [, left, right] = this.#entries
    return left === undefined || right === undefined || goesBefore(left, right) ? left : right
  }

  [Symbol.iterator](): IterableIterator<Entry> {
    return this.#entries.values()
  }

  push(entry: Entry): void {
    this.#entries.push(entry)
    this.#rise(entry, this.#entries.length - 1)
  }

  /** Takes out one that is in this heap. */
  remove(entry: Entry): void {
    const { place } = entry
    const last = this.#entries.pop()!
    entry.place = -1
    if (last === entry) return
    this.#sink(last, place)
    this.#rise(last, last.place)
  }

  #rise(entry: Entry, from: number): void {
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

  #sink(entry: Entry, from: number): void {
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
