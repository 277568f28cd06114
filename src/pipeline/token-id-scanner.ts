import type { TokenIds } from '../inference/kv-events/token-ids.ts'

const OPEN = 0x5b
const CLOSE = 0x5d
const COMMA = 0x2c
const ZERO = 0x30
const NINE = 0x39
const SPACE = 0x20
const MAX_TOKEN = 2 ** 32 - 1

/**
 * Reads prompts that are token ids, as their JSON passes: `[1, 2, …]`, or a list of such lists. That the JSON is well-formed others check;
 * anything but whole numbers in it makes it no prompt of tokens.
 */
export class TokenIdScanner {
  readonly #out: TokenIds
  readonly #maxTokens: number
  #depth = 0
  #number = -1
  #failed = false
  #closed = false

  constructor(out: TokenIds, maxTokens: number) {
    this.#out = out
    this.#maxTokens = maxTokens
  }

  reset(): void {
    this.#out.clear()
    this.#depth = 0
    this.#number = -1
    this.#failed = false
    this.#closed = false
  }

  /** All of the value was read, and it was token ids. */
  get complete(): boolean {
    return this.#closed && !this.#failed && this.#out.count > 0
  }

  feed(bytes: Uint8Array, start: number, end: number): void {
    if (this.#failed) return
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!
      if (byte >= ZERO && byte <= NINE) {
        this.#number = Math.max(0, this.#number) * 10 + byte - ZERO
        if (this.#number > MAX_TOKEN || this.#depth === 0) return this.#fail()
      } else if (byte === COMMA) this.#endNumber()
      else if (byte === OPEN) {
        if (++this.#depth > 2 || this.#closed) return this.#fail()
      } else if (byte === CLOSE) {
        this.#endNumber()
        const { ends, count } = this.#out
        if (count > (ends.at(-1) ?? 0)) this.#out.endPrompt()
        if (--this.#depth === 0) this.#closed = true
      } else if (byte > SPACE) return this.#fail()
    }
  }

  #endNumber(): void {
    if (this.#number < 0) return
    if (this.#out.count >= this.#maxTokens) return this.#fail()
    this.#out.push(this.#number)
    this.#number = -1
  }

  #fail(): void {
    this.#failed = true
    this.#out.clear()
  }
}
