/** Seeded pseudo-randomness: the simulator never asks for any other kind, so that the same seed gives the same run. */

const GOLDEN = 0x9e3779b1

/** Mixes one 32-bit value into a 32-bit state. */
export function mix32(state: number, value: number): number {
  let h = Math.imul(state ^ value, GOLDEN)
  h ^= h >>> 15
  h = Math.imul(h, 0x85ebca6b)
  return (h ^ (h >>> 13)) >>> 0
}

/** 32-bit hash of a text's UTF-16 units. */
export function hashText(text: string, seed = 0): number {
  let h = mix32(seed, text.length)
  for (let i = 0; i < text.length; i++) h = mix32(h, text.charCodeAt(i))
  return h
}

/** A generator of numbers in [0, 1). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = mix32(seed, GOLDEN)
  }

  next(): number {
    this.#state = (this.#state + GOLDEN) >>> 0
    return mix32(this.#state, 0x5bd1e995) / 2 ** 32
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }
}
