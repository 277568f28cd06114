import { hashText } from './random.ts'

/**
 * Stand-in for a model's tokenizer. A token starts at a space or line break and takes the bytes up to the next one, at most
 * `MAX_TOKEN_BYTES`; English text has about 4 bytes a token. Its id is a hash of its bytes. Boundaries depend only on what
 * stands to the left, so text that is appended to (a conversation) keeps its tokens, and with them its cached blocks.
 */
export const MAX_TOKEN_BYTES = 6

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193
const encoder = new TextEncoder()

/** Tokens of a growing prompt. */
export class TokenBuffer {
  #ids = new Uint32Array(64)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** The tokens so far: a view that later appends may leave behind. */
  view(): Uint32Array {
    return this.#ids.subarray(0, this.#length)
  }

  push(id: number): void {
    if (this.#length === this.#ids.length) {
      const larger = new Uint32Array(this.#length * 2)
      larger.set(this.#ids)
      this.#ids = larger
    }
    this.#ids[this.#length++] = id
  }

  /** Appends the tokens of a text. */
  text(text: string): this {
    const bytes = encoder.encode(text)
    let hash = FNV_OFFSET
    let size = 0
    for (const byte of bytes) {
      if (size > 0 && (size === MAX_TOKEN_BYTES || byte === 0x20 || byte === 0x0a)) {
        this.push(hash >>> 0)
        hash = FNV_OFFSET
        size = 0
      }
      hash = Math.imul(hash ^ byte, FNV_PRIME)
      size++
    }
    if (size > 0) this.push(hash >>> 0)
    return this
  }

  /** Appends a control token, such as the marker in front of a message, which no text can produce by itself. */
  special(name: string): this {
    this.push(hashText(name, 0x5ec1a1))
    return this
  }
}

/** The pieces of ASCII text that become one token each. */
export function pieces(ascii: string): string[] {
  const result: string[] = []
  let start = 0
  for (let i = 1; i <= ascii.length; i++) {
    if (i < ascii.length && i - start < MAX_TOKEN_BYTES && ascii[i] !== ' ' && ascii[i] !== '\n') continue
    result.push(ascii.slice(start, i))
    start = i
  }
  return result
}

/** The token of one piece as `pieces` returns them. */
export function pieceToken(piece: string): number {
  let hash = FNV_OFFSET
  for (let i = 0; i < piece.length; i++) hash = Math.imul(hash ^ piece.charCodeAt(i), FNV_PRIME)
  return hash >>> 0
}
