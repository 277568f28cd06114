/**
 * LoRA adapters are kept in the shared table as 32-bit FNV-1a hashes of their names instead of interned ids: threads need no
 * common dictionary, hostile names leave nothing behind, and a collision (2⁻³² a pair) only bends one score.
 */
const OFFSET = 0x811c9dc5 | 0
const PRIME = 0x01000193

/** Hash of the name's UTF-8 bytes; never 0, so that 0 can mean "none". */
export function adapterId(name: string): number {
  let hash = OFFSET
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i)
    if (code > 0x7f) {
      const bytes = Buffer.from(name)
      return adapterIdOfBytes(bytes, 0, bytes.length)
    }
    hash = Math.imul(hash ^ code, PRIME)
  }
  return hash || 1
}

/** The same for the name that stands in `bytes[start, end)`. */
export function adapterIdOfBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = OFFSET
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, PRIME)
  return hash || 1
}
