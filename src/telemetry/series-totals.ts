/** What threads have counted in their memories (./shared-series.ts), summed up: the main thread's side. */
import type { HistogramSample, Sample } from './metrics.ts'
import { cellsOf, type SeriesFamily } from './series-family.ts'
import { ENTRY_WORDS, SeriesMemory } from './shared-series.ts'

interface Total {
  readonly labels: readonly string[]
  readonly cells: Float64Array
}

/** A series of a thread, and the sum that it is part of. */
interface Part {
  readonly memory: SeriesMemory
  readonly cell: number
  readonly total: Total
}

/** May replace a label's value: series that get the same labels by that are summed up. */
export type Fold = (label: string, value: string) => string

/** What was read in vain is read again. Threads make few changes meanwhile: they see that they are read. */
const TRIES = 100_000

export class SeriesTotals {
  readonly #families: readonly SeriesFamily[]
  readonly #memories: readonly SeriesMemory[]
  readonly #newFold: () => Fold
  #fold: Fold
  readonly #totals: readonly Map<string, Total>[]
  #parts: Part[] = []
  /** Series of each memory that are part of `#parts`, and the version in which they were read. */
  readonly #known: number[]
  readonly #versions: number[]

  /** `newFold` is called again when values have gone: every value that is left is asked for anew. */
  constructor(
    families: readonly SeriesFamily[],
    memories: readonly SharedArrayBuffer[],
    newFold: () => Fold = () => (_, value) => value,
  ) {
    this.#families = families
    this.#memories = memories.map(memory => new SeriesMemory(memory))
    this.#newFold = newFold
    this.#fold = newFold()
    this.#totals = families.map(() => new Map())
    this.#known = memories.map(() => 0)
    this.#versions = memories.map(() => 0)
  }

  /** Reads all memories: what the other methods tell is as of then. */
  refresh(): void {
    for (const { reading } of this.#memories) Atomics.store(reading, 0, 1)
    try {
      this.#read()
    } finally {
      for (const { reading } of this.#memories) Atomics.store(reading, 0, 0)
    }
  }

  #read(): void {
    for (let tries = 0; tries < TRIES; tries++) {
      const versions = this.#memories.map(({ version }) => Atomics.load(version, 0))
      if (versions.some(version => (version & 1) === 1)) continue
      if (versions.some((version, i) => version !== this.#versions[i])) this.#startAnew(versions)
      this.#sum()
      if (this.#memories.every(({ version }, i) => Atomics.load(version, 0) === versions[i])) return
    }
  }

  /** Series have gone, and others may stand in their places. */
  #startAnew(versions: readonly number[]): void {
    this.#fold = this.#newFold()
    this.#parts = []
    this.#known.fill(0)
    for (const totals of this.#totals) totals.clear()
    for (const [i, version] of versions.entries()) this.#versions[i] = version
  }

  #sum(): void {
    for (const [i, memory] of this.#memories.entries()) this.#readNew(i, memory)
    for (const totals of this.#totals) for (const { cells } of totals.values()) cells.fill(0)
    for (const { memory, cell, total } of this.#parts) {
      const { cells } = total
      for (let i = 0; i < cells.length; i++) cells[i]! += memory.cells[cell + i]!
    }
  }

  samples(family: number): Sample[] {
    return Array.from(this.#totals[family]!.values(), ({ labels, cells }) => ({ labels, value: cells[0]! }))
  }

  histograms(family: number): HistogramSample[] {
    return Array.from(this.#totals[family]!.values(), ({ labels, cells }) => ({
      labels,
      buckets: Array.from(cells.subarray(0, -1)),
      sum: cells.at(-1)!,
    }))
  }

  /** The thread of this memory has died: nothing of what it had under way is any more. */
  clearGauges(index: number): void {
    const memory = this.#memories[index]!
    const { directory, cells, version } = memory
    // It may have died in the middle of a change.
    if ((Atomics.load(version, 0) & 1) === 1) Atomics.add(version, 0, 1)
    const size = Atomics.load(memory.size, 0)
    for (let series = 0; series < size; series++) {
      const at = series * ENTRY_WORDS
      if (directory[at]! >= 0 && this.#families[directory[at]!]!.type === 'gauge') cells[directory[at + 1]!] = 0
    }
  }

  #readNew(index: number, memory: SeriesMemory): void {
    const size = Atomics.load(memory.size, 0)
    for (let series = this.#known[index]!; series < size; series++) {
      const family = memory.directory[series * ENTRY_WORDS]!
      if (family < 0) continue
      const { labels: names } = this.#families[family]!
      const raw = memory.labels(series)
      // One empty label is an empty text too.
      const labels = names.map((name, i) => this.#fold(name, raw[i] ?? ''))
      this.#parts.push({
        memory,
        cell: memory.directory[series * ENTRY_WORDS + 1]!,
        total: this.#totalOf(family, labels),
      })
    }
    this.#known[index] = size
  }

  #totalOf(family: number, labels: readonly string[]): Total {
    const totals = this.#totals[family]!
    const key = labels.join('\0')
    let total = totals.get(key)
    if (total === undefined) {
      total = { labels, cells: new Float64Array(cellsOf(this.#families[family]!)) }
      totals.set(key, total)
    }
    return total
  }
}
