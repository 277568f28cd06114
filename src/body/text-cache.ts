/**
 * Strings of bytes that come again and again (paths, methods, names of models), so that most of them are not decoded anew: a
 * direct-mapped cache, keyed by the bytes themselves. Equal texts are mostly the same string object, which makes maps quick to
 * find them. Bounded: hostile texts only replace each other.
 *
 * Budget: 20 bytes in 30 ns (decoding takes 120 and leaves garbage).
 */

const ENTRIES = 512
/** Longer texts are decoded each time. */
const MAX_BYTES = 64

const toText = Buffer.prototype.toString

export class TextCache {
  readonly #texts: string[] = Array.from({ length: ENTRIES }, () => '')
  readonly #lengths = new Uint8Array(ENTRIES)
  readonly #bytes = new Uint8Array(ENTRIES * MAX_BYTES)

  /** The bytes `start … end` as UTF-8 text; what is no UTF-8 reads as U+FFFD. */
  text(bytes: Uint8Array, start: number, end: number): string {
    const length = end - start
    if (length === 0) return ''
    if (length > MAX_BYTES) return toText.call(bytes, 'utf8', start, end)
    let hash = length
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
    const entry = (hash ^ (hash >>> 16)) & (ENTRIES - 1)
    const known = entry * MAX_BYTES
    let same = this.#lengths[entry] === length ? 0 : -1
    while (same >= 0 && same < length) same = this.#bytes[known + same] === bytes[start + same] ? same + 1 : -1
    if (same === length) return this.#texts[entry]!
    const text = toText.call(bytes, 'utf8', start, end)
    this.#texts[entry] = text
    this.#lengths[entry] = length
    for (let i = 0; i < length; i++) this.#bytes[known + i] = bytes[start + i]!
    return text
  }
}
