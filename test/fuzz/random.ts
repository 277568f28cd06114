/** Reproducible randomness: the same seed gives the same cases, on every machine. */

/** mulberry32. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound)
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!
  }

  /** Mostly small, now and then up to `most`. */
  length(most: number): number {
    return this.below(this.oneIn(8) ? most + 1 : Math.min(most, 40) + 1)
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length)
    for (let at = 0; at < length; at++) bytes[at] = this.below(256)
    return bytes
  }
}

/** The seed of one case of a run, so that it can be played alone. */
export function caseSeed(seed: number, index: number): number {
  let mixed = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35)
  mixed ^= mixed >>> 15
  return Math.imul(mixed, 0x27d4eb2f) >>> 0
}

/** What is at the edges of prefixes, flags and varints. */
const EDGES = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x40, 0x3f, 0x20, 0x1f, 0x0f] as const

/** Changes bytes at one to three places: flipped bits, edges, insertions, deletions, repetitions, a cut. */
export function mutate(bytes: Uint8Array, random: Random): Buffer {
  let mutated = Buffer.from(bytes)
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const { length } = mutated
    const at = random.below(length + 1)
    const before = mutated.subarray(0, at)
    switch (random.below(6)) {
      case 0:
        if (at < length) mutated[at]! ^= 1 << random.below(8)
        break
      case 1:
        if (at < length) mutated[at] = random.pick(EDGES)
        break
      case 2:
        mutated = Buffer.concat([before, random.bytes(1 + random.below(3)), mutated.subarray(at)])
        break
      case 3:
        mutated = Buffer.concat([before, mutated.subarray(Math.min(length, at + 1 + random.below(6)))])
        break
      case 4:
        mutated = Buffer.concat([before, mutated.subarray(at, at + random.below(30)), mutated.subarray(at)])
        break
      default:
        if (random.oneIn(3)) mutated = Buffer.from(before)
    }
  }
  return mutated
}

/** Cuts bytes into chunks: all at once, one by one, or anything between. */
export function* split(bytes: Buffer, random: Random): Generator<Buffer> {
  const small = bytes.length < 200 || random.oneIn(20)
  const most = random.pick(small ? [bytes.length, 1, 2, 9, 50] : [bytes.length, 100, 1000, 5000])
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + 1 + random.below(Math.max(1, most)))
    yield bytes.subarray(at, end)
    at = end
  }
}
