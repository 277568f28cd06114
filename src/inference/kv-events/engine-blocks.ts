/**
 * One engine's blocks by its own hashes: where each stands in the chain of tokens, and how often each tier told that it has it. Engines tell of
 * a block several times (attention groups, allocations): it is gone when it was removed as often. Rows of an open-addressed table in an
 * Int32Array; a block costs 37–96 bytes, or 256 after most of its neighbours went.
 *
 * The engine chooses the hashes: where a block is looked for depends on a secret of this process, so that none can make all of them meet.
 */
import { randomBytes } from 'node:crypto'
import { finish } from '../prefix-hasher.ts'

/** Words of a row: hash, chain state, counts (a byte a tier; 0 = free row), tokens up to the block's end (negative: doubtful), the parent's hash. */
const LOW = 0
const HIGH = 1
const A = 2
const B = 3
const COUNTS = 4
const DEPTH = 5
const PARENT_LOW = 6
const PARENT_HIGH = 7
const ROW = 8
const DOUBTFUL = 1 << 31
const FIRST_ROWS = 64
/** Rows a new block may be from where it belongs: chance never brings it so far, whatever the hashes. */
const MOST_STEPS = 512
/** Rows looked at for one to forget. */
const MOST_LOOKED_AT = 1024

const SECRET = randomBytes(8)
const SECRET_LOW = SECRET.readInt32LE(0)
const SECRET_HIGH = SECRET.readInt32LE(4)

/** Tiers that a row has counts for. */
export const MAX_TIERS = 4

export class EngineBlocks {
  /** Blocks known. */
  count = 0
  /** Hash of the parent of what is added next. */
  parentLow = 0
  parentHigh = 0
  #rows = new Int32Array(FIRST_ROWS * ROW)
  #mask = FIRST_ROWS - 1

  /** Offset of a block's row, −1 = unknown. Valid until something is added or removed. */
  find(low: number, high: number): number {
    for (let row = this.#home(low, high); ; row = this.#after(row)) {
      if (this.#rows[row + COUNTS] === 0) return -1
      if (this.#rows[row + LOW] === low && this.#rows[row + HIGH] === high) return row
    }
  }

  a(row: number): number {
    return this.#rows[row + A]!
  }

  b(row: number): number {
    return this.#rows[row + B]!
  }

  depth(row: number): number {
    return this.#rows[row + DEPTH]! & ~DOUBTFUL
  }

  has(row: number, tier: number): boolean {
    return ((this.#rows[row + COUNTS]! >>> (8 * tier)) & 0xff) !== 0
  }

  /** A block that is not known yet, told once by a tier. False: it was not added, too many hashes meet in one place. */
  add(low: number, high: number, a: number, b: number, depth: number, tier: number): boolean {
    if (this.count * 3 > (this.#mask + 1) * 2) this.#resize(2 * this.#rows.length)
    const row = this.#freeRow(low, high)
    if (row < 0) return false
    const rows = this.#rows
    rows[row + LOW] = low
    rows[row + HIGH] = high
    rows[row + A] = a
    rows[row + B] = b
    rows[row + COUNTS] = 1 << (8 * tier)
    rows[row + DEPTH] = depth
    rows[row + PARENT_LOW] = this.parentLow
    rows[row + PARENT_HIGH] = this.parentHigh
    this.count++
    return true
  }

  /** Told once more. */
  raise(row: number, tier: number): void {
    const counts = this.#rows[row + COUNTS]!
    // What was told before may have been taken back since.
    if (this.#rows[row + DEPTH]! < 0) this.#rows[row + COUNTS] = (counts & ~(0xff << (8 * tier))) | (1 << (8 * tier))
    else if (((counts >>> (8 * tier)) & 0xff) < 0xff) this.#rows[row + COUNTS] = counts + (1 << (8 * tier))
  }

  /** Removed once; true when the tier has it no more. The row is gone when no tier has it. */
  lower(row: number, tier: number): boolean {
    const counts = this.#rows[row + COUNTS]!
    const count = (counts >>> (8 * tier)) & 0xff
    if (count === 0) return false
    const left = counts - (1 << (8 * tier))
    if (left === 0) this.#delete(row)
    else this.#rows[row + COUNTS] = left
    return count === 1
  }

  /** It is not known of any block whether the engine still has it. */
  doubt(): void {
    const rows = this.#rows
    for (let row = 0; row < rows.length; row += ROW) if (rows[row + COUNTS] !== 0) rows[row + DEPTH]! |= DOUBTFUL
  }

  /** The engine has the block, and so all before it. */
  confirm(row: number): void {
    const rows = this.#rows
    for (
      let at = row;
      at >= 0 && rows[at + DEPTH]! < 0;
      at = this.find(rows[at + PARENT_LOW]!, rows[at + PARENT_HIGH]!)
    )
      rows[at + DEPTH]! &= ~DOUBTFUL
  }

  /** Forgets those that are still doubtful, each after `visit`. */
  forgetDoubtful(visit: (row: number) => void): void {
    for (let row = 0; row < this.#rows.length; ) {
      const rows = this.#rows
      if (rows[row + COUNTS] === 0 || rows[row + DEPTH]! >= 0) {
        row += ROW
        continue
      }
      visit(row)
      // Another may have moved here, or all of them.
      this.#delete(row)
      if (this.#rows !== rows) row = 0
    }
  }

  forEach(visit: (row: number) => void): void {
    for (let row = 0; row < this.#rows.length; row += ROW) if (this.#rows[row + COUNTS] !== 0) visit(row)
  }

  /** The deepest of some rows, −1 = none was near. Another `from` gives others. */
  deepest(from: number): number {
    let deepest = -1
    let seen = 0
    let row = (from & this.#mask) * ROW
    for (let steps = 0; steps <= this.#mask && steps < MOST_LOOKED_AT && seen < 8; steps++, row = this.#after(row)) {
      if (this.#rows[row + COUNTS] === 0) continue
      seen++
      if (deepest < 0 || this.depth(row) > this.depth(deepest)) deepest = row
    }
    return deepest
  }

  /** Forgets the block, however often it was told. */
  delete(row: number): void {
    this.#delete(row)
  }

  clear(): void {
    this.count = 0
    this.#rows = new Int32Array(FIRST_ROWS * ROW)
    this.#mask = FIRST_ROWS - 1
  }

  #home(low: number, high: number): number {
    return (finish(finish(low ^ SECRET_LOW) ^ finish((high + SECRET_HIGH) | 0)) & this.#mask) * ROW
  }

  #after(row: number): number {
    const next = row + ROW
    return next === this.#rows.length ? 0 : next
  }

  /** −1: none is near enough. */
  #freeRow(low: number, high: number): number {
    let row = this.#home(low, high)
    for (let steps = 0; this.#rows[row + COUNTS] !== 0; steps++, row = this.#after(row))
      if (steps >= MOST_STEPS) return -1
    return row
  }

  /** Rows behind it that would not be found any more move up. */
  #delete(row: number): void {
    const rows = this.#rows
    this.count--
    let hole = row
    for (let next = this.#after(hole); rows[next + COUNTS] !== 0; next = this.#after(next)) {
      const home = this.#home(rows[next + LOW]!, rows[next + HIGH]!)
      const between = hole <= next ? hole < home && home <= next : hole < home || home <= next
      if (between) continue
      rows.copyWithin(hole, next, next + ROW)
      hole = next
    }
    rows.fill(0, hole, hole + ROW)
    // An engine must not keep the memory of all blocks that it ever had.
    if (this.count * 8 < this.#mask + 1 && this.#mask >= FIRST_ROWS) this.#resize(rows.length / 2)
  }

  #resize(words: number): void {
    const before = this.#rows
    this.#rows = new Int32Array(words)
    this.#mask = words / ROW - 1
    for (let from = 0; from < before.length; from += ROW) {
      if (before[from + COUNTS] === 0) continue
      let to = this.#home(before[from + LOW]!, before[from + HIGH]!)
      while (this.#rows[to + COUNTS] !== 0) to = this.#after(to)
      this.#rows.set(before.subarray(from, from + ROW), to)
    }
  }
}
