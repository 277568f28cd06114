/**
 * A part of an engine's blocks (./engine-blocks.ts): rows of an open-addressed table of bounded size, so that whatever is done with all of
 * them is done within some microseconds. Rows are named by their offset in `rows`.
 */

/** Words of a row: hash, chain state, counts (a byte a tier; 0 = free row), tokens up to the block's end (negative: doubtful), the parent's hash. */
const LOW = 0
const HIGH = 1
export const A = 2
export const B = 3
export const COUNTS = 4
export const DEPTH = 5
export const PARENT_LOW = 6
export const PARENT_HIGH = 7
export const ROW = 8
export const DOUBTFUL = 1 << 31

const FIRST_ROWS = 64
/** Rows of a segment at most. */
export const MOST_ROWS = 512
/** Of the spread hash: the lowest bits choose the segment. */
const HOME_SHIFT = 32 - Math.log2(MOST_ROWS)

/** Spreads hashes: the same for all rows of an engine. */
export type Spread = (low: number, high: number) => number

export class BlockSegment {
  /** Blocks in it. */
  count = 0
  rows = new Int32Array(FIRST_ROWS * ROW)
  /** Lowest bits of the spread hash that all of its blocks share, and how many. */
  readonly pattern: number
  readonly bits: number
  /** The last doubt that its rows were told of. */
  doubts: number
  readonly #spread: Spread

  constructor(pattern: number, bits: number, doubts: number, spread: Spread) {
    this.pattern = pattern
    this.bits = bits
    this.doubts = doubts
    this.#spread = spread
  }

  get capacity(): number {
    return this.rows.length / ROW
  }

  /** −1 = unknown. Valid until something is added or removed. */
  find(low: number, high: number): number {
    const { rows } = this
    for (let row = this.#home(low, high); ; row = this.after(row)) {
      if (rows[row + COUNTS] === 0) return -1
      if (rows[row + LOW] === low && rows[row + HIGH] === high) return row
    }
  }

  /** A row for a block that is not known yet; the caller fills in all of it but the hash. −1 = it is as full as it may be. */
  add(low: number, high: number): number {
    if ((this.count + 1) * 4 > this.capacity * 3) {
      if (this.capacity === MOST_ROWS) return -1
      this.#resize(2 * this.rows.length)
    }
    const row = this.#freeRow(low, high)
    this.rows[row + LOW] = low
    this.rows[row + HIGH] = high
    this.count++
    return row
  }

  /** Rows behind it that would not be found any more move up. */
  delete(row: number): void {
    const { rows } = this
    this.count--
    let hole = row
    for (let next = this.after(hole); rows[next + COUNTS] !== 0; next = this.after(next)) {
      const home = this.#home(rows[next + LOW]!, rows[next + HIGH]!)
      const between = hole <= next ? hole < home && home <= next : hole < home || home <= next
      if (between) continue
      rows.copyWithin(hole, next, next + ROW)
      hole = next
    }
    rows.fill(0, hole, hole + ROW)
  }

  /** Gives back memory that few blocks don't need. */
  shrink(): void {
    if (this.count * 8 < this.capacity && this.capacity > FIRST_ROWS) this.#resize(this.rows.length / 2)
  }

  /** Takes over the blocks of the other one that belong here. There must be room. */
  takeFrom({ rows }: BlockSegment): void {
    const mask = (1 << this.bits) - 1
    for (let row = 0; row < rows.length; row += ROW) {
      if (rows[row + COUNTS] === 0) continue
      const low = rows[row + LOW]!
      const high = rows[row + HIGH]!
      if ((this.#spread(low, high) & mask) !== this.pattern) continue
      const to = this.add(low, high)
      this.rows.set(rows.subarray(row, row + ROW), to)
    }
  }

  /** Of no block is it known whether the engine still has it. */
  doubt(): void {
    const { rows } = this
    for (let row = 0; row < rows.length; row += ROW) if (rows[row + COUNTS] !== 0) rows[row + DEPTH]! |= DOUBTFUL
  }

  after(row: number): number {
    const next = row + ROW
    return next === this.rows.length ? 0 : next
  }

  #home(low: number, high: number): number {
    return ((this.#spread(low, high) >>> HOME_SHIFT) & (this.capacity - 1)) * ROW
  }

  #freeRow(low: number, high: number): number {
    let row = this.#home(low, high)
    while (this.rows[row + COUNTS] !== 0) row = this.after(row)
    return row
  }

  #resize(words: number): void {
    const before = this.rows
    this.rows = new Int32Array(words)
    for (let from = 0; from < before.length; from += ROW) {
      if (before[from + COUNTS] === 0) continue
      this.rows.set(before.subarray(from, from + ROW), this.#freeRow(before[from + LOW]!, before[from + HIGH]!))
    }
  }
}
