import { keyHigh, keyLow, TokenChain } from './token-chain.ts'
import type { TokenIds } from './token-ids.ts'

/** Goes over the prompts of a request in steps of some tokens, and has the key of what it has passed. */
export class KeyCursor {
  /** Tokens of the prompt that were passed. */
  position = 0
  low = 0
  high = 0
  readonly #chain = new TokenChain()
  #tokens!: TokenIds
  #seed = ''
  #adapter = ''
  #prompt = -1
  #start = 0
  #end = 0

  begin(tokens: TokenIds, seed: string, adapter: string): void {
    this.#tokens = tokens
    this.#seed = seed
    this.#adapter = adapter
    this.#prompt = -1
    this.#end = 0
  }

  nextPrompt(): boolean {
    const { ends } = this.#tokens
    if (++this.#prompt >= ends.length) return false
    this.#start = this.#end
    this.#end = ends[this.#prompt]!
    this.position = 0
    this.#chain.start(this.#seed, this.#adapter)
    this.#chain.extra(this.#tokens.salt)
    return true
  }

  /** False when the prompt has fewer tokens left; nothing has changed then. */
  advance(step: number): boolean {
    const from = this.#start + this.position
    if (from + step > this.#end) return false
    const chain = this.#chain
    chain.append(this.#tokens.ids, from, from + step)
    this.position += step
    this.low = keyLow(chain.a, chain.b)
    this.high = keyHigh(chain.a, chain.b)
    return true
  }
}
