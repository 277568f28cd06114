/**
 * Labelled counters, gauges and histograms of one thread in shared memory, summed up over threads by the main thread when metrics are asked
 * for (./series-totals.ts). A thread writes only its own memory, and plainly: a float is exact up to 2⁵³. A successor of a thread
 * that died goes on where it stopped.
 *
 * Memory: a 32-bit number of series, a version, and whether somebody reads; for each series its family, first cell, and first block and bytes of
 * its labels' text, 32 bits each; 64-bit cells; texts (./label-texts.ts), the labels joined by a zero byte. A series is complete before the
 * number of series rises. Afterwards it changes only while the version is odd: one of a value that is not told apart any more becomes
 * free (family −1 − its own), and another one of its family.
 */
import { blocksOf, LABEL_TEXTS_BYTES, LabelTexts, LabelTextWriter } from './label-texts.ts'
import { cellsOf, type SeriesFamily } from './series-family.ts'
import { OTHER } from './label-limit.ts'
import { ValueIndex } from './value-index.ts'

export const MAX_SERIES = 32 * 1024
const MAX_CELLS = 512 * 1024
/** Longer labels are cut, UTF-16 units. */
const MAX_LABEL_LENGTH = 256
const DIRECTORY = 16
export const ENTRY_WORDS = 4
const CELLS = DIRECTORY + MAX_SERIES * ENTRY_WORDS * Int32Array.BYTES_PER_ELEMENT
const TEXTS = CELLS + MAX_CELLS * Float64Array.BYTES_PER_ELEMENT
const SEPARATOR = '\0'

/** Untouched parts take no memory. */
export function createSeriesMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(TEXTS + LABEL_TEXTS_BYTES)
}

/** The parts of a memory. */
export class SeriesMemory {
  readonly size: Int32Array
  readonly version: Int32Array
  /** 1: the main thread reads, and waits for no great changes. */
  readonly reading: Int32Array
  readonly directory: Int32Array
  readonly cells: Float64Array
  readonly texts: LabelTexts

  constructor(memory: SharedArrayBuffer) {
    this.size = new Int32Array(memory, 0, 1)
    this.version = new Int32Array(memory, 4, 1)
    this.reading = new Int32Array(memory, 8, 1)
    this.directory = new Int32Array(memory, DIRECTORY, MAX_SERIES * ENTRY_WORDS)
    this.cells = new Float64Array(memory, CELLS, MAX_CELLS)
    this.texts = new LabelTexts(memory, TEXTS)
  }

  /** A series' labels; of one that has none, one that is empty. */
  labels(series: number): string[] {
    const first = this.directory[series * ENTRY_WORDS + 2]!
    const length = this.directory[series * ENTRY_WORDS + 3]!
    return this.texts.read(first, length).split(SEPARATOR)
  }
}

/** The writing side: one object a memory at a time. */
export class SeriesWriter {
  readonly #families: readonly SeriesFamily[]
  readonly #memory: SeriesMemory
  /** By family: labels → its series. */
  readonly #known: readonly Map<string, number>[]
  /** By family: series that are free. */
  readonly #free: readonly number[][]
  readonly #texts: LabelTextWriter
  readonly #indexes: ValueIndex[] = []
  #nextCell = 0
  /** Kept for series that have no place: one of each family with all labels `other`. */
  readonly #others: readonly string[]
  readonly #reservedCells: number
  readonly #reservedBlocks: number

  constructor(families: readonly SeriesFamily[], memory: SharedArrayBuffer) {
    this.#families = families
    this.#memory = new SeriesMemory(memory)
    this.#known = families.map(() => new Map())
    this.#free = families.map(() => [])
    this.#reservedCells = families.reduce((sum, family) => sum + cellsOf(family), 0)
    this.#others = families.map(({ labels }) => labels.map(() => OTHER).join(SEPARATOR))
    this.#reservedBlocks = this.#others.reduce((sum, text) => sum + blocksOf(text.length), 0)
    const { directory, size, texts } = this.#memory
    const used: [number, number][] = []
    for (let series = 0; series < size[0]!; series++) {
      const at = series * ENTRY_WORDS
      const family = directory[at]! < 0 ? ~directory[at]! : directory[at]!
      this.#nextCell = directory[at + 1]! + cellsOf(families[family]!)
      if (family === directory[at]!) {
        this.#known[family]!.set(this.#memory.labels(series).join(SEPARATOR), series)
        used.push([directory[at + 2]!, directory[at + 3]!])
      } else this.#free[family]!.push(series)
    }
    this.#texts = new LabelTextWriter(texts, used)
  }

  /** Values of these labels can be given up from now on. Looks at all series that are there: not while a request waits. */
  index(names: ReadonlySet<string>): ValueIndex {
    const index = new ValueIndex(this.#families, names)
    for (const [family, known] of this.#known.entries())
      for (const [text, series] of known) index.add(family, series, text.split(SEPARATOR))
    this.#indexes.push(index)
    return index
  }

  /** The main thread reads the memory: every change makes it begin anew. */
  get isRead(): boolean {
    return Atomics.load(this.#memory.reading, 0) === 1
  }

  /** First cell of the family's series with these labels, in the order of their names. */
  series(family: number, labels: readonly string[]): number {
    const text = this.#text(labels)
    return this.#cellOf(this.#known[family]!.get(text) ?? this.#add(family, text))
  }

  add(cell: number, value = 1): void {
    this.#memory.cells[cell]! += value
  }

  /** Counts one in the family's series with these labels. */
  count(family: number, labels: readonly string[]): void {
    this.add(this.series(family, labels))
  }

  /** Counts a value in the histogram with these labels. */
  note(family: number, labels: readonly string[], value: number): void {
    this.observe(family, this.series(family, labels), value)
  }

  /** Counts a value in a histogram. What is no number is not counted. */
  observe(family: number, cell: number, value: number): void {
    const { cells } = this.#memory
    const buckets = this.#families[family]!.buckets!
    if (Number.isNaN(value)) return
    let low = 0
    let high = buckets.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (value <= buckets[middle]!) high = middle
      else low = middle + 1
    }
    cells[cell + low]! += 1
    cells[cell + buckets.length + 1]! += value
  }

  /**
   * The value is not told apart any more: what was counted of it is counted as `other`, and its series are free for others; one at each
   * step. Returns whether it could be given up; not so what is still under way (gauges). Cells of what was given up are void.
   */
  *retire(index: ValueIndex, value: string): Generator<undefined, boolean> {
    const text = clean(value)
    const of = index.get(text)
    if (of === undefined) return true
    const { cells } = this.#memory
    for (const series of of.gauges) {
      if (cells[this.#cellOf(series)] !== 0) return false
      this.#change(() => this.#fold(series, index, text))
      yield
    }
    for (const series of of.others) {
      this.#change(() => this.#fold(series, index, text))
      yield
    }
    return true
  }

  #fold(series: number, index: ValueIndex, value: string): void {
    const { cells, directory } = this.#memory
    const at = series * ENTRY_WORDS
    const family = directory[at]!
    const labels = this.#memory.labels(series)
    const to = this.series(family, index.without(family, labels, value))
    const from = this.#cellOf(series)
    if (to === from) return
    for (let i = 0; i < cellsOf(this.#families[family]!); i++) cells[to + i]! += cells[from + i]!
    this.#known[family]!.delete(labels.join(SEPARATOR))
    for (const each of this.#indexes) each.delete(family, series, labels)
    directory[at] = ~family
    this.#texts.free(directory[at + 2]!, directory[at + 3]!)
    this.#free[family]!.push(series)
  }

  /** Readers look again when it is over. */
  #change(act: () => void): void {
    const { version } = this.#memory
    const outer = (version[0]! & 1) === 0
    if (outer) Atomics.add(version, 0, 1)
    act()
    if (outer) Atomics.add(version, 0, 1)
  }

  #cellOf(series: number): number {
    return this.#memory.directory[series * ENTRY_WORDS + 1]!
  }

  #text(labels: readonly string[]): string {
    if (labels.length === 0) return ''
    let text = clean(labels[0]!)
    for (let i = 1; i < labels.length; i++) text += SEPARATOR + clean(labels[i]!)
    return text
  }

  /** Returns the series. */
  #add(family: number, text: string): number {
    const { size, directory, cells } = this.#memory
    const bytes = Buffer.byteLength(text)
    const other = this.#others[family]!
    if (text !== other && !this.#hasRoom(family, bytes))
      return this.#known[family]!.get(other) ?? this.#add(family, other)
    const free = this.#free[family]!.pop()
    const series = free ?? size[0]!
    const at = series * ENTRY_WORDS
    const count = cellsOf(this.#families[family]!)
    if (free === undefined) {
      directory[at + 1] = this.#nextCell
      this.#nextCell += count
      this.#place(at, family, text, bytes)
      Atomics.store(size, 0, series + 1)
    } else {
      this.#change(() => {
        cells.fill(0, directory[at + 1], directory[at + 1]! + count)
        this.#place(at, family, text, bytes)
      })
    }
    this.#known[family]!.set(text, series)
    if (this.#indexes.length > 0) {
      const labels = text.split(SEPARATOR)
      for (const index of this.#indexes) index.add(family, series, labels)
    }
    return series
  }

  #place(at: number, family: number, text: string, bytes: number): void {
    const { directory } = this.#memory
    directory[at + 2] = this.#texts.write(text, bytes)
    directory[at + 3] = bytes
    directory[at] = family
  }

  /** For one more series of the family, beside what is kept for `other`. */
  #hasRoom(family: number, bytes: number): boolean {
    if (this.#texts.room - blocksOf(bytes) < this.#reservedBlocks) return false
    if (this.#free[family]!.length > 0) return true
    const cells = this.#nextCell + cellsOf(this.#families[family]!)
    return this.#memory.size[0]! < MAX_SERIES - this.#families.length && cells <= MAX_CELLS - this.#reservedCells
  }
}

function clean(label: string): string {
  const short = label.length > MAX_LABEL_LENGTH ? label.slice(0, MAX_LABEL_LENGTH) : label
  // A half of a pair that was cut, or came alone, would be another text when it is read again.
  return short.isWellFormed() && !short.includes(SEPARATOR) ? short : short.toWellFormed().replaceAll(SEPARATOR, '�')
}
