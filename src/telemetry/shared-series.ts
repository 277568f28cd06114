/**
 * Labelled counters, gauges and histograms of one thread in shared memory, summed up over threads by the main thread when metrics are asked
 * for (./series-totals.ts). A thread writes only its own memory, and plainly: a float is exact up to 2⁵³. A successor of a thread
 * that died goes on where it stopped.
 *
 * Memory: a 32-bit number of series, and a version; for each series its family, first cell, and where its labels' text lies, 32 bits each; 64-bit
 * cells; texts, the labels joined by a zero byte. A series is complete before the number of series rises. Afterwards it changes only
 * while the version is odd: one of a value that is not told apart any more becomes free (family −1 − its own), and another one of its family.
 */
import { cellsOf, type SeriesFamily } from './series-family.ts'
import { OTHER } from './label-limit.ts'

export const MAX_SERIES = 32 * 1024
const MAX_CELLS = 512 * 1024
const TEXT_BYTES = 4 * 1024 * 1024
/** Longer labels are cut, UTF-16 units. */
const MAX_LABEL_LENGTH = 256
const DIRECTORY = 8
export const ENTRY_WORDS = 4
const CELLS = DIRECTORY + MAX_SERIES * ENTRY_WORDS * Int32Array.BYTES_PER_ELEMENT
const TEXTS = CELLS + MAX_CELLS * Float64Array.BYTES_PER_ELEMENT
const SEPARATOR = '\0'

/** Untouched parts take no memory. */
export function createSeriesMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(TEXTS + TEXT_BYTES)
}

/** The parts of a memory. */
export class SeriesMemory {
  readonly size: Int32Array
  readonly version: Int32Array
  readonly directory: Int32Array
  readonly cells: Float64Array
  readonly texts: Buffer

  constructor(memory: SharedArrayBuffer) {
    this.size = new Int32Array(memory, 0, 1)
    this.version = new Int32Array(memory, 4, 1)
    this.directory = new Int32Array(memory, DIRECTORY, MAX_SERIES * ENTRY_WORDS)
    this.cells = new Float64Array(memory, CELLS, MAX_CELLS)
    this.texts = Buffer.from(memory, TEXTS, TEXT_BYTES)
  }

  /** A series' labels; `[]` has none. */
  labels(series: number): string[] {
    const start = this.directory[series * ENTRY_WORDS + 2]!
    const length = this.directory[series * ENTRY_WORDS + 3]!
    return length === 0 ? [] : this.texts.toString('utf8', start, start + length).split(SEPARATOR)
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
  #nextCell = 0
  #nextText = 0
  /** Kept for series that have no place: one of each family with all labels `other`. */
  readonly #reservedCells: number
  readonly #reservedText: number

  constructor(families: readonly SeriesFamily[], memory: SharedArrayBuffer) {
    this.#families = families
    this.#memory = new SeriesMemory(memory)
    this.#known = families.map(() => new Map())
    this.#free = families.map(() => [])
    this.#reservedCells = families.reduce((sum, family) => sum + cellsOf(family), 0)
    this.#reservedText = families.reduce((sum, { labels }) => sum + labels.length * (OTHER.length + 1), 0)
    const { directory, size } = this.#memory
    for (let series = 0; series < size[0]!; series++) {
      const at = series * ENTRY_WORDS
      const family = directory[at]! < 0 ? ~directory[at]! : directory[at]!
      if (family === directory[at]!) this.#known[family]!.set(this.#memory.labels(series).join(SEPARATOR), series)
      else this.#free[family]!.push(series)
      this.#nextCell = directory[at + 1]! + cellsOf(families[family]!)
      this.#nextText = Math.max(this.#nextText, directory[at + 2]! + directory[at + 3]!)
    }
  }

  /** First cell of the family's series with these labels, in the order of their names. */
  series(family: number, labels: readonly string[]): number {
    const text = this.#text(labels)
    return this.#cellOf(this.#known[family]!.get(text) ?? this.#add(family, text))
  }

  add(cell: number, value = 1): void {
    this.#memory.cells[cell]! += value
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
   * These values of the labels `names` are not told apart any more: what was counted of them is counted as `other`, and their series are
   * free for others. Returns those that could be given up; not so what is still under way (gauges). Cells of the others are void.
   */
  retire(names: ReadonlySet<string>, values: readonly string[]): string[] {
    const texts = new Set(values.map(clean))
    const found: { readonly family: number; readonly text: string; readonly series: number; readonly of: string[] }[] =
      []
    const busy = new Set<string>()
    for (const [family, { labels, type }] of this.#families.entries()) {
      const places = [...labels.keys()].filter(place => names.has(labels[place]!))
      if (places.length === 0) continue
      for (const [text, series] of this.#known[family]!) {
        const parts = text.split(SEPARATOR)
        const of = places.map(place => parts[place]!).filter(value => texts.has(value))
        if (of.length === 0) continue
        found.push({ family, text, series, of })
        if (type === 'gauge' && this.#memory.cells[this.#cellOf(series)] !== 0) for (const value of of) busy.add(value)
      }
    }
    // Both models of a rewritten request are in its series.
    for (let before = -1; before !== busy.size; ) {
      before = busy.size
      for (const { of } of found) if (of.some(value => busy.has(value))) for (const value of of) busy.add(value)
    }
    const free = found.filter(({ of }) => !busy.has(of[0]!))
    if (free.length > 0)
      this.#change(() => free.forEach(each => this.#fold(each.family, each.text, each.series, names, texts)))
    return values.filter(value => !busy.has(clean(value)))
  }

  #fold(family: number, text: string, series: number, names: ReadonlySet<string>, texts: ReadonlySet<string>): void {
    const { labels } = this.#families[family]!
    const parts = text.split(SEPARATOR)
    const folded = parts.map((part, i) => (names.has(labels[i]!) && texts.has(part) ? OTHER : part))
    const to = this.series(family, folded)
    const { cells, directory } = this.#memory
    const from = this.#cellOf(series)
    for (let i = 0; i < cellsOf(this.#families[family]!); i++) cells[to + i]! += cells[from + i]!
    this.#known[family]!.delete(text)
    directory[series * ENTRY_WORDS] = ~family
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

  /** A free series of the family, −1 = none is, or there is no room for the text. */
  #reuse(family: number, text: string, bytes: number): number {
    const { directory, cells, texts } = this.#memory
    const series = this.#free[family]!.at(-1)
    if (series === undefined) return -1
    const at = series * ENTRY_WORDS
    const inPlace = bytes <= directory[at + 3]!
    if (!inPlace && this.#nextText + bytes > TEXT_BYTES - this.#reservedText) return -1
    this.#free[family]!.pop()
    this.#change(() => {
      const cell = this.#cellOf(series)
      cells.fill(0, cell, cell + cellsOf(this.#families[family]!))
      if (!inPlace) {
        directory[at + 2] = this.#nextText
        this.#nextText += bytes
      }
      directory[at + 3] = texts.write(text, directory[at + 2]!)
      directory[at] = family
    })
    this.#known[family]!.set(text, series)
    return series
  }

  #text(labels: readonly string[]): string {
    if (labels.length === 0) return ''
    let text = clean(labels[0]!)
    for (let i = 1; i < labels.length; i++) text += SEPARATOR + clean(labels[i]!)
    return text
  }

  /** Returns the series. */
  #add(family: number, text: string): number {
    const { size, directory, texts } = this.#memory
    const series = size[0]!
    const cells = cellsOf(this.#families[family]!)
    const bytes = Buffer.byteLength(text)
    const reused = this.#reuse(family, text, bytes)
    if (reused >= 0) return reused
    const { labels } = this.#families[family]!
    const other = labels.map(() => OTHER).join(SEPARATOR)
    const spare =
      series < MAX_SERIES - this.#families.length &&
      this.#nextCell + cells <= MAX_CELLS - this.#reservedCells &&
      this.#nextText + bytes <= TEXT_BYTES - this.#reservedText
    if (!spare && text !== other) {
      const known = this.#known[family]!
      return known.get(other) ?? this.#add(family, other)
    }
    const at = series * ENTRY_WORDS
    directory[at] = family
    directory[at + 1] = this.#nextCell
    directory[at + 2] = this.#nextText
    directory[at + 3] = texts.write(text, this.#nextText)
    this.#known[family]!.set(text, series)
    this.#nextCell += cells
    this.#nextText += bytes
    Atomics.store(size, 0, series + 1)
    return series
  }
}

function clean(label: string): string {
  const short = label.length > MAX_LABEL_LENGTH ? label.slice(0, MAX_LABEL_LENGTH) : label
  // A half of a pair that was cut, or came alone, would be another text when it is read again.
  return short.isWellFormed() && !short.includes(SEPARATOR) ? short : short.toWellFormed().replaceAll(SEPARATOR, '�')
}
