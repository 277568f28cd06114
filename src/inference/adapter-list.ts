import { adapterIdOfBytes } from './adapter-id.ts'

const SPACE = 0x20
const COMMA = 0x2c

/** Writes the ids of the names in a comma list, bytes [start, end), into `into` from `from` on; returns how many there was room for. */
export function readAdapterList(bytes: Buffer, start: number, end: number, into: Int32Array, from: number): number {
  let count = 0
  let first = start
  for (let at = start; at <= end; at++) {
    if (at < end && bytes[at] !== COMMA) continue
    let last = at
    while (first < last && bytes[first] === SPACE) first++
    while (last > first && bytes[last - 1] === SPACE) last--
    if (last > first && from + count < into.length) into[from + count++] = adapterIdOfBytes(bytes, first, last)
    first = at + 1
  }
  return count
}
