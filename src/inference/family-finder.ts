/**
 * Where families stand on the pages of one replica. Page after page is nearly the same: a family is first looked for where it was, moved by as
 * much as the one before it has moved, and only then in the whole page.
 */
import type { Family } from './engine-page.ts'
import { readSeries, startsWith } from './series.ts'

const NEWLINE = 0x0a
/** No page had it. */
const NOWHERE = Number.MAX_SAFE_INTEGER

export class FamilyFinder {
  readonly #families: readonly Family[]
  /** Families in the order of the last page. */
  readonly #order: Uint8Array
  /** Where each family began in the last page that had it; those that none had come last. */
  readonly #places: Float64Array
  /** By how much the family found last stands further back than on the page before. */
  #moved = 0
  #outOfOrder = false

  constructor(families: readonly Family[]) {
    this.#families = families
    this.#order = Uint8Array.from(families, (_, f) => f)
    this.#places = new Float64Array(families.length).fill(NOWHERE)
  }

  /** Families in the order in which they are looked for. */
  get order(): Uint8Array {
    return this.#order
  }

  /** A new page. */
  begin(): void {
    this.#moved = 0
    if (!this.#outOfOrder) return
    this.#outOfOrder = false
    this.#order.sort((a, b) => this.#places[a]! - this.#places[b]!)
  }

  /**
   * Sets `series` to the family's first one in the lines [begin, end), whose last newline is at `end`, and returns where it begins, or −1. `from`:
   * end of the family that was found before. `before`: bytes of the page before those at offset 0.
   */
  find(bytes: Buffer, f: number, begin: number, end: number, from: number, before: number): number {
    const { name, needle } = this.#families[f]!
    let at = findNear(bytes, name, this.#places[f]! + this.#moved - before, from, end)
    if (at < 0) {
      const lines = bytes.subarray(0, end)
      if (readSeries(bytes, name, begin)) at = begin
      else at = findFrom(lines, bytes, needle, name, from)
      if (at < 0 && from > begin) at = findFrom(bytes.subarray(0, from), bytes, needle, name, begin)
      if (at < 0) return -1
      if (at < from) this.#outOfOrder = true
    }
    const place = before + at
    const known = this.#places[f]!
    if (known !== NOWHERE) this.#moved = place - known
    this.#places[f] = place
    return at
  }
}

/** … when it is in the line at `expected` or in the next one, and not before `from`. */
function findNear(bytes: Buffer, name: Buffer, expected: number, from: number, end: number): number {
  if (expected < from || expected >= end) return -1
  // A small integer for the engine, not the double that places are.
  let at = lineBegin(bytes, expected | 0, from)
  if (!readSeries(bytes, name, at)) {
    while (bytes[at] !== NEWLINE) at++
    at++
    if (at >= end || !readSeries(bytes, name, at)) return -1
  }
  // A rank may have come, whose series stands before this one.
  while (at > from) {
    const previous = lineBegin(bytes, at - 1, from)
    if (!startsWith(bytes, name, previous)) return at
    if (!readSeries(bytes, name, previous)) {
      readSeries(bytes, name, at)
      return at
    }
    at = previous
  }
  return at
}

/** Begin of the line with the byte (or newline) at `at`, or `from` when it begins before that. */
function lineBegin(bytes: Buffer, at: number, from: number): number {
  while (at > from && bytes[at - 1] !== NEWLINE) at--
  return at
}

/** … the first one after the newline at `from` or a later one. */
function findFrom(lines: Buffer, bytes: Buffer, needle: Buffer, name: Buffer, from: number): number {
  let at = lines.indexOf(needle, from)
  while (at >= 0 && !readSeries(bytes, name, at + 1)) at = lines.indexOf(needle, at + needle.length)
  return at < 0 ? -1 : at + 1
}
