/** Reads the keys of one object level and tells which of them is wanted. */
import { unescape } from './json-fields.ts'
import { childByBytes, childByText, type ScanProgram } from './json-program.ts'

/** The chunk ended inside the key. */
export const KEY_OPEN = -1
/** A control character or a wrong escape. */
export const KEY_BAD = -2
export const KEY_TOO_LONG = -3

const QUOTE = 0x22
const BACKSLASH = 0x5c
const FIRST_PRINTABLE = 0x20

export class KeyReader {
  /** Node of the key that was read; -1: not wanted. */
  node = -1
  /** Offset of the opening quote. */
  offset = 0
  readonly #program: ScanProgram
  #parent = 0
  /**
   * The raw bytes of a key that comes in pieces or with escapes. A longer key than the buffer cannot be a wanted one, so that
   * its escapes do not matter.
   */
  readonly #raw: Buffer
  #bytes = 0
  #escaped = false
  #inEscape = false

  constructor(program: ScanProgram) {
    this.#program = program
    this.#raw = Buffer.allocUnsafe(program.keyBufferBytes)
  }

  /** A key of the object `parent` starts; its opening quote stands at `offset`. */
  start(parent: number, offset: number): void {
    this.#parent = parent
    this.offset = offset
    this.#bytes = 0
    this.#escaped = false
    this.#inEscape = false
  }

  /**
   * @param base offset of the chunk's position 0
   * @returns the position after the closing quote (and `node` is known), or one of the negative constants
   */
  read(chunk: Uint8Array, start: number, end: number, base: number): number {
    // One past the last position at which the closing quote may stand.
    const last = Math.min(end, this.offset + 2 + this.#program.maxKeyBytes - base)
    if (this.#bytes === 0) {
      // Nearly every key lies in one chunk and has no escape: compare it where it is.
      let p = start
      while (p < last && chunk[p] !== QUOTE && chunk[p] !== BACKSLASH && chunk[p]! >= FIRST_PRINTABLE) p++
      if (p < last && chunk[p] === QUOTE) {
        this.node = childByBytes(this.#program, this.#parent, chunk, start, p)
        return p + 1
      }
    }
    for (let p = start; p < last; p++) {
      const byte = chunk[p]!
      if (byte < FIRST_PRINTABLE) return KEY_BAD
      if (this.#inEscape) this.#inEscape = false
      else if (byte === QUOTE) return this.#resolve() ? p + 1 : KEY_BAD
      else if (byte === BACKSLASH) this.#escaped = this.#inEscape = true
      if (this.#bytes < this.#raw.length) this.#raw[this.#bytes] = byte
      this.#bytes++
    }
    return last < end ? KEY_TOO_LONG : KEY_OPEN
  }

  #resolve(): boolean {
    this.node = -1
    if (this.#bytes > this.#raw.length) return true
    if (!this.#escaped) {
      this.node = childByBytes(this.#program, this.#parent, this.#raw, 0, this.#bytes)
      return true
    }
    const key = unescape(this.#raw.toString('utf8', 0, this.#bytes))
    if (key === undefined) return false
    this.node = childByText(this.#program, this.#parent, key)
    return true
  }
}
