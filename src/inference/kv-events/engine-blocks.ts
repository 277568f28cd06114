/**
 * One engine's blocks by its own hashes: where each stands in the chain of tokens, and how often each tier told that it has it. Engines tell of
 * a block several times (attention groups, allocations): it is gone when it was removed as often. A block costs 43–128 bytes, 62 at the mean, or
 * 256 after most of its neighbours went.
 *
 * Blocks are in segments (./block-segment.ts) by the lowest bits of their hashes, so that nothing takes the longer the more there are: a full
 * segment becomes two, two that are nearly empty become one, what was told of all blocks reaches a segment when it is looked at next, and forgetting
 * goes segment by segment.
 *
 * The engine chooses the hashes: where a block is looked for depends on a secret of this process, so that none can make all of them meet.
 */
import { randomBytes } from 'node:crypto'
import { finish } from '../prefix-hasher.ts'
import {
  A,
  B,
  BlockSegment,
  COUNTS,
  DEPTH,
  DOUBTFUL,
  MOST_ROWS,
  PARENT_HIGH,
  PARENT_LOW,
  ROW,
} from './block-segment.ts'

/** Rows are numbered through: segment × SEGMENT_WORDS + offset. */
const SEGMENT_WORDS = MOST_ROWS * ROW
const MOST_BITS = 18
/** Blocks that two segments may have to become one. */
const MOST_TO_JOIN = MOST_ROWS / 4
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
  /** Number of the segment by the lowest bits of the spread hash. A power of two of them. */
  #directory = new Int32Array(1)
  /** By number; `undefined`: free. */
  #segments: (BlockSegment | undefined)[] = [new BlockSegment(0, 0, 0, spread)]
  readonly #free: number[] = []
  /** How often all were doubted. */
  #doubts = 0
  /** Number of the segment that is looked through next for what is doubtful, −1 = none. */
  #forgetting = -1
  /** All are to be doubted after that. */
  #doubtsNext = false

  /** A block's row, −1 = unknown. Valid until something is added or removed. */
  find(low: number, high: number): number {
    const at = this.#at(low, high)
    const row = this.#touch(at).find(low, high)
    return row < 0 ? -1 : at * SEGMENT_WORDS + row
  }

  a(row: number): number {
    return this.#word(row, A)
  }

  b(row: number): number {
    return this.#word(row, B)
  }

  depth(row: number): number {
    return this.#word(row, DEPTH) & ~DOUBTFUL
  }

  has(row: number, tier: number): boolean {
    return ((this.#word(row, COUNTS) >>> (8 * tier)) & 0xff) !== 0
  }

  /** A block that is not known yet, told once by a tier. False: it was not added, there are too many. */
  add(low: number, high: number, a: number, b: number, depth: number, tier: number): boolean {
    let segment = this.#touch(this.#at(low, high))
    let row = segment.add(low, high)
    while (row < 0) {
      if (!this.#split(this.#at(low, high))) return false
      segment = this.#segments[this.#at(low, high)]!
      row = segment.add(low, high)
    }
    const { rows } = segment
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
    const counts = this.#word(row, COUNTS)
    // What was told before may have been taken back since.
    if (this.#word(row, DEPTH) < 0) this.#set(row, COUNTS, (counts & ~(0xff << (8 * tier))) | (1 << (8 * tier)))
    else if (((counts >>> (8 * tier)) & 0xff) < 0xff) this.#set(row, COUNTS, counts + (1 << (8 * tier)))
  }

  /** Removed once; true when the tier has it no more. The row is gone when no tier has it. */
  lower(row: number, tier: number): boolean {
    const counts = this.#word(row, COUNTS)
    const count = (counts >>> (8 * tier)) & 0xff
    if (count === 0) return false
    const left = counts - (1 << (8 * tier))
    if (left === 0) this.delete(row)
    else this.#set(row, COUNTS, left)
    return count === 1
  }

  /** It is not known of any block whether the engine still has it. While doubtful ones are being forgotten: after that. */
  doubt(): void {
    if (this.#forgetting >= 0) this.#doubtsNext = true
    else this.#doubts++
  }

  /** The engine has the block, and so all before it. */
  confirm(row: number): void {
    for (let at = row; at >= 0 && this.#word(at, DEPTH) < 0; ) {
      this.#set(at, DEPTH, this.#word(at, DEPTH) & ~DOUBTFUL)
      at = this.find(this.#word(at, PARENT_LOW), this.#word(at, PARENT_HIGH))
    }
  }

  /** From here on `forgetSome` forgets what is doubtful now and was not confirmed when it comes by. */
  beginForgetting(): void {
    if (this.#forgetting < 0) this.#forgetting = 0
  }

  /** Forgets the doubtful ones of a segment, each after `visit`. Returns the rows that it looked at; 0: it is over. */
  forgetSome(visit: (row: number) => void): number {
    while (this.#forgetting >= 0) {
      const at = this.#forgetting
      if (at >= this.#segments.length) {
        this.#forgetting = -1
        if (this.#doubtsNext) this.#doubts++
        this.#doubtsNext = false
        return 0
      }
      this.#forgetting++
      if (this.#segments[at] === undefined) continue
      const segment = this.#touch(at)
      for (let row = 0; row < segment.rows.length; ) {
        if (segment.rows[row + COUNTS] === 0 || segment.rows[row + DEPTH]! >= 0) {
          row += ROW
          continue
        }
        visit(at * SEGMENT_WORDS + row)
        // Another may have moved here.
        segment.delete(row)
        this.count--
      }
      const rows = segment.capacity
      this.#join(at)
      return rows
    }
    return 0
  }

  /** Gives up a segment with all blocks in it, each after `visit`. Returns the rows that it looked at; 0: none was left. Nothing else may be asked any more. */
  giveUpSome(visit: (row: number) => void): number {
    for (;;) {
      if (this.#segments.length === 0) return 0
      const at = this.#segments.length - 1
      const segment = this.#segments[at]
      if (segment !== undefined) {
        const { rows } = segment
        for (let row = 0; row < rows.length; row += ROW) if (rows[row + COUNTS] !== 0) visit(at * SEGMENT_WORDS + row)
        this.count -= segment.count
      }
      this.#segments.pop()
      if (segment !== undefined) return segment.capacity
    }
  }

  /** The deepest of some rows, −1 = none was near. Another `from` gives others. */
  deepest(from: number): number {
    let deepest = -1
    let seen = 0
    let looked = 0
    for (let next = 0; next < this.#directory.length && looked < MOST_LOOKED_AT && seen < 8; next++) {
      const at = this.#directory[(from + next) & (this.#directory.length - 1)]!
      const segment = this.#segments[at]!
      const start = ((from >>> 8) & (segment.capacity - 1)) * ROW
      for (let i = 0, row = start; i < segment.capacity && seen < 8; i++, looked++, row = segment.after(row)) {
        if (segment.rows[row + COUNTS] === 0) continue
        seen++
        const here = at * SEGMENT_WORDS + row
        if (deepest < 0 || this.depth(here) > this.depth(deepest)) deepest = here
      }
    }
    return deepest
  }

  /** Forgets the block, however often it was told. */
  delete(row: number): void {
    const at = Math.trunc(row / SEGMENT_WORDS)
    this.#segments[at]!.delete(row % SEGMENT_WORDS)
    this.count--
    this.#join(at)
  }

  /** Number of the segment that the block belongs to. */
  #at(low: number, high: number): number {
    return this.#directory[spread(low, high) & (this.#directory.length - 1)]!
  }

  #touch(at: number): BlockSegment {
    const segment = this.#segments[at]!
    if (segment.doubts !== this.#doubts) {
      segment.doubts = this.#doubts
      segment.doubt()
    }
    return segment
  }

  #word(row: number, word: number): number {
    return this.#segments[Math.trunc(row / SEGMENT_WORDS)]!.rows[(row % SEGMENT_WORDS) + word]!
  }

  #set(row: number, word: number, value: number): void {
    this.#segments[Math.trunc(row / SEGMENT_WORDS)]!.rows[(row % SEGMENT_WORDS) + word] = value
  }

  /** Two segments instead of one. */
  #split(at: number): boolean {
    const segment = this.#touch(at)
    const { pattern, bits } = segment
    if (bits === MOST_BITS) return false
    if (1 << bits === this.#directory.length) {
      const larger = new Int32Array(2 * this.#directory.length)
      larger.set(this.#directory)
      larger.set(this.#directory, this.#directory.length)
      this.#directory = larger
    }
    this.#put(at, new BlockSegment(pattern, bits + 1, this.#doubts, spread)).takeFrom(segment)
    // What is looked through for doubtful ones must not come to where that was already.
    const other = (this.#forgetting < 0 ? this.#free.pop() : undefined) ?? this.#segments.length
    this.#put(other, new BlockSegment(pattern | (1 << bits), bits + 1, this.#doubts, spread)).takeFrom(segment)
    return true
  }

  /** Joins the segment with the other half of what it was, as long as both are nearly empty. */
  #join(number: number): void {
    let at = number
    for (;;) {
      const segment = this.#touch(at)
      const { pattern, bits, count } = segment
      if (count > MOST_TO_JOIN) return
      if (bits === 0) return segment.shrink()
      const other = this.#directory[pattern ^ (1 << (bits - 1))]!
      const half = this.#touch(other)
      if (half.bits !== bits || half.count + count > MOST_TO_JOIN) return
      // The higher number is looked through later for what is doubtful.
      const joined = this.#put(
        Math.max(at, other),
        new BlockSegment(pattern & ~(1 << (bits - 1)), bits - 1, this.#doubts, spread),
      )
      joined.takeFrom(segment)
      joined.takeFrom(half)
      this.#segments[Math.min(at, other)] = undefined
      this.#free.push(Math.min(at, other))
      at = Math.max(at, other)
    }
  }

  #put(at: number, segment: BlockSegment): BlockSegment {
    this.#segments[at] = segment
    for (let i = segment.pattern; i < this.#directory.length; i += 1 << segment.bits) this.#directory[i] = at
    return segment
  }
}

function spread(low: number, high: number): number {
  return finish(finish(low ^ SECRET_LOW) ^ finish((high + SECRET_HIGH) | 0))
}
