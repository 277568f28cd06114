/** Header blocks of our answers (RFC 7541 §6). */
import { STATIC_FIELDS } from './static-table.ts'

const INDEXED = 0x80
const WITHOUT_INDEXING = 0x00

/** Static indices by name, and by name and value (`name\nvalue`). */
const byName = new Map<string, number>()
const byField = new Map<string, number>()
for (const [at, { name, value }] of STATIC_FIELDS.entries()) {
  byName.set(name, byName.get(name) ?? at + 1)
  byField.set(`${name}\n${value}`, at + 1)
}

/**
 * Encodes `fields` (name, value, name, value …; `:status` first). The peer's dynamic table is neither used nor changed, so the bytes
 * mean the same at any time on any connection. No Huffman either: ten bytes more in an answer, but for the peer a copy instead of a
 * decoder. Names and values must be valid and hold one octet a character: nothing is checked.
 */
export function encodeHeaders(fields: readonly string[]): Uint8Array {
  const bytes: number[] = []
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at]!
    const value = fields[at + 1]!
    const index = byField.get(`${name}\n${value}`)
    if (index !== undefined) {
      pushInteger(bytes, INDEXED, 0x7f, index)
      continue
    }
    const nameIndex = byName.get(name) ?? 0
    pushInteger(bytes, WITHOUT_INDEXING, 0x0f, nameIndex)
    if (nameIndex === 0) pushString(bytes, name)
    pushString(bytes, value)
  }
  return Uint8Array.from(bytes)
}

function pushString(bytes: number[], text: string): void {
  pushInteger(bytes, 0, 0x7f, text.length)
  for (let at = 0; at < text.length; at++) bytes.push(text.charCodeAt(at) & 0xff)
}

/** An integer (§5.1): `flags` are the bits above the prefix, `prefix` is its mask. */
function pushInteger(bytes: number[], flags: number, prefix: number, value: number): void {
  if (value < prefix) {
    bytes.push(flags | value)
    return
  }
  bytes.push(flags | prefix)
  let rest = value - prefix
  for (; rest > 0x7f; rest >>>= 7) bytes.push(0x80 | (rest & 0x7f))
  bytes.push(rest)
}
