import { hashText, mix32 } from './random.ts'

/**
 * The tokens of one sequence as chained block keys: key i stands for all tokens up to the end of block i, so two sequences
 * share key i exactly when they agree on everything before (and on the salt: adapter and `cache_salt`). 53 bits.
 */
export class TokenChain {
  /** Keys of the blocks that are full. */
  readonly keys: number[] = []
  readonly tokens: number[] = []
  #high: number
  #low: number
  readonly #blockSize: number

  constructor(blockSize: number, salt: string) {
    this.#blockSize = blockSize
    this.#high = hashText(salt, 1)
    this.#low = hashText(salt, 2)
  }

  get length(): number {
    return this.tokens.length
  }

  append(token: number): void {
    this.tokens.push(token)
    this.#high = mix32(this.#high, token)
    this.#low = mix32(this.#low, token ^ 0xa5a5a5a5)
    if (this.tokens.length % this.#blockSize === 0) this.keys.push(this.#high * 2 ** 21 + (this.#low >>> 11))
  }
}
