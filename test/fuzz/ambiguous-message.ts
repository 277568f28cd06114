/**
 * Messages that no encoder writes and that decoders may read differently: a field twice (messages are merged by some, replaced by
 * others, and the first of two bodies may have gone by in pieces), a known field with another wire type (skipped by some, read all the same by others), numbers beyond 32 bits, text that is not
 * ASCII, both values of a header.
 */

/** Known fields of a message: wire type, and what is in a nested one. `ONE` may come once. */
interface Fields {
  readonly [field: number]: {
    readonly wire: number
    readonly inside?: Fields
    readonly once?: boolean
    readonly ascii?: boolean
  }
}

const HEADER_VALUE: Fields = {
  1: { wire: 2, once: true, ascii: true },
  2: { wire: 2, once: true, ascii: true },
  3: { wire: 2, once: true, ascii: true },
}
const HEADER_MAP: Fields = { 1: { wire: 2, inside: HEADER_VALUE } }
const HEADERS: Fields = { 1: { wire: 2, inside: HEADER_MAP, once: true }, 3: { wire: 0 } }
const BODY: Fields = { 1: { wire: 2, once: true }, 2: { wire: 0 }, 3: { wire: 0 }, 4: { wire: 0 } }
const TRAILERS: Fields = { 1: { wire: 2, inside: HEADER_MAP, once: true } }
const CONFIG: Fields = { 1: { wire: 0 }, 2: { wire: 0 }, 3: { wire: 0 } }
const REQUEST: Fields = {
  2: { wire: 2, inside: HEADERS },
  3: { wire: 2, inside: HEADERS },
  4: { wire: 2, inside: BODY },
  5: { wire: 2, inside: BODY },
  6: { wire: 2, inside: TRAILERS },
  7: { wire: 2, inside: TRAILERS },
  10: { wire: 0 },
  11: { wire: 2, inside: CONFIG },
}

export function isAmbiguous(bytes: Uint8Array): boolean {
  return !isClear(bytes, 0, bytes.length, REQUEST)
}

function isClear(bytes: Uint8Array, start: number, end: number, known: Fields): boolean {
  const seen = new Set<number>()
  let oneofs = 0
  let at = start
  /** −1: cut off, or beyond 32 bits. */
  const varint = (): number => {
    let value = 0
    for (let shift = 1; at < end && shift < 2 ** 35; shift *= 128) {
      const byte = bytes[at++]!
      value += (byte & 127) * shift
      if (byte < 128) return value < 2 ** 32 ? value : -1
    }
    return -1
  }
  while (at < end) {
    const tag = varint()
    const field = Math.floor(tag / 8)
    if (tag < 0 || field === 0) return false
    const wire = tag % 8
    const fields = known[field]
    // Metadata and attributes are left alone: they may hold anything.
    if (fields === undefined ? known === REQUEST && (field === 8 || field === 9) : fields.wire !== wire) return false
    if (fields?.once === true && seen.has(field)) return false
    seen.add(field)
    if (known === REQUEST && field <= 7 && ++oneofs > 1) return false
    if (wire === 0) {
      const value = varint()
      if (value < 0 || value > 5) return false
    } else if (wire === 1) at += 8
    else if (wire === 5) at += 4
    else if (wire === 2) {
      const length = varint()
      if (length < 0 || at + length > end) return false
      if (fields?.inside !== undefined && !isClear(bytes, at, at + length, fields.inside)) return false
      if (fields?.ascii === true) for (let i = at; i < at + length; i++) if (bytes[i]! > 0x7e) return false
      at += length
    } else return false
  }
  return at === end && !(known === HEADER_VALUE && seen.has(2) && seen.has(3))
}
