/** xorshift32: reproducible by its seed, without allocation. Not for secrets. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0 || 0x6d2b79f5
  }

  /** An integer in 0 … `limit` − 1. */
  below(limit: number): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return (x >>> 0) % limit
  }

  /** Above 0, at most 1. */
  unit(): number {
    return (this.below(0x40000000) + 1) / 0x40000000
  }
}
