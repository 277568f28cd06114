import type { PrefixHasher } from '../prefix-hasher.ts'
import type { BurstPlan } from './burst-plan.ts'

/** The blocks of a prompt that has ended, the incomplete last one among them. Valid as long as the hasher has that prompt. */
export class PromptBlocks {
  readonly count: number
  /** Of the whole, as far as it is looked at; with model and salt the same for the same prompts only. */
  readonly hash: number
  readonly #hasher: PrefixHasher
  readonly #stride: number
  /** Place of the last hash that counts. */
  readonly #last: number
  /** Prompts of different models or salts have nothing in common. */
  readonly #scope: string

  constructor(hasher: PrefixHasher, { stride, maxBlocks }: Pick<BurstPlan, 'stride' | 'maxBlocks'>, scope: string) {
    const hashes = hasher.count + (hasher.hashTail() ? 1 : 0)
    this.#hasher = hasher
    this.#stride = stride
    this.#scope = scope
    this.count = Math.min(maxBlocks, Math.ceil(hashes / stride))
    this.#last = Math.min(hashes, this.count * stride) - 1
    this.hash = hasher.low[this.#last] ?? 0
  }

  /** Names the first `count` blocks, which must be there: equal only where those are. */
  name(count: number): string {
    const at = this.#at(count - 1)
    return `${this.#hasher.low[at]!}:${this.#hasher.high[at]!}:${this.#scope}`
  }

  /** An order in which prompts stand beside those that begin like them; of the same scope. 0: both are the same. */
  compare(other: PromptBlocks): number {
    const common = this.common(other)
    if (common === this.count || common === other.count) return this.count - other.count
    const mine = this.#at(common)
    const theirs = other.#at(common)
    return (
      this.#hasher.low[mine]! - other.#hasher.low[theirs]! || this.#hasher.high[mine]! - other.#hasher.high[theirs]!
    )
  }

  /** Leading blocks that both have; of the same scope. */
  common(other: PromptBlocks): number {
    let least = 0
    let most = Math.min(this.count, other.count)
    // A block's hash is that of all before it too.
    while (least < most) {
      const middle = (least + most + 1) >> 1
      if (this.#sameAt(other, middle - 1)) least = middle
      else most = middle - 1
    }
    return least
  }

  #sameAt(other: PromptBlocks, block: number): boolean {
    const mine = this.#at(block)
    const theirs = other.#at(block)
    return (
      this.#hasher.low[mine] === other.#hasher.low[theirs] && this.#hasher.high[mine] === other.#hasher.high[theirs]
    )
  }

  #at(block: number): number {
    return Math.min((block + 1) * this.#stride - 1, this.#last)
  }
}
