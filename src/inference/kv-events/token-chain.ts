/**
 * Running hash of a sequence of tokens, two 32-bit words of state: the key of the sequence's first n tokens is the state after n, mixed.
 * As it does not know of blocks, sequences that were hashed with different block sizes meet wherever both have a boundary. What a block
 * depends on beside its tokens goes in before its first token; adapters are in the start. Budget: 3 ns a token.
 *
 * No secret is in it, so keys can be made to meet. That costs no time: the tables that have them (./kv-index.ts, ./speculative-index.ts) look
 * at one or two buckets of a fixed size, whatever the key, and what does not fit pushes others out.
 */
import { finish } from '../prefix-hasher.ts'
import { hashText } from './hash-text.ts'

const P1 = 0x9e3779b1 | 0
const P2 = 0x85ebca77 | 0
const P3 = 0xc2b2ae3d | 0
const P4 = 0x27d4eb2f | 0

export class TokenChain {
  /** The state. */
  a = 0
  b = 0

  /** `adapter` '' = the base model; `seed` tells apart what should not meet. */
  start(seed: string, adapter: string): void {
    this.a = hashText(adapter, hashText(seed, 1))
    this.b = hashText(adapter, hashText(seed, 2))
  }

  /** 0: nothing. */
  extra(hash: number): void {
    if (hash === 0) return
    this.a = finish(this.a ^ hash)
    this.b = finish((this.b + hash) | 0)
  }

  append(tokens: Uint32Array, start: number, end: number): void {
    let { a, b } = this
    for (let i = start; i < end; i++) {
      const token = tokens[i]!
      let x = Math.imul(token, P1)
      x = Math.imul((x << 15) | (x >>> 17), P2)
      a ^= x
      a = (((a << 13) | (a >>> 19)) * 5 + P3) | 0
      let y = Math.imul(token ^ P4, P2)
      y = Math.imul((y << 16) | (y >>> 16), P1)
      b ^= y
      b = (((b << 17) | (b >>> 15)) * 5 + P4) | 0
    }
    this.a = a
    this.b = b
  }
}

/** Key of the tokens up to a state: two words, never both 0. */
export function keyLow(a: number, b: number): number {
  return finish(a ^ Math.imul(b, P3)) | 1
}

export function keyHigh(a: number, b: number): number {
  return finish(b ^ Math.imul(a, P4))
}
