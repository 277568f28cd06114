/**
 * Blocks that endpoints are about to hold because a request was just sent there: believed for a short time, until the engines tell
 * themselves. In a SharedArrayBuffer that all threads write without locks; the worst outcome of a race is a wrong or lost hint, which is
 * over soon. Time goes in ages of half the lifetime, and an entry has the sets of its last three ages: hints live between one lifetime and
 * one and a half.
 */
import { KeyCursor } from './key-cursor.ts'
import type { TokenIds } from './token-ids.ts'

const ENTRIES = 1 << 15
const AGES = 3
/** Words of an entry before its sets: key, and the age that its first set belongs to. */
const HEAD = 3
const MAX_BYTES = 32 * 1024 * 1024

export function createSpeculativeMemory(slots: number): SharedArrayBuffer {
  const stride = strideOf(slots)
  let entries = ENTRIES
  while (entries * stride * 4 > MAX_BYTES && entries > 1024) entries /= 2
  return new SharedArrayBuffer(entries * stride * 4)
}

export class SpeculativeIndex {
  readonly #memory: Int32Array
  readonly #ageMs: number
  readonly #words: number
  readonly #stride: number
  /** Entries − 1; their number is a power of two. */
  readonly #mask: number
  readonly #cursor = new KeyCursor()

  /** `slots` as `createSpeculativeMemory` had it. */
  constructor(memory: SharedArrayBuffer, slots: number, ttlMs: number) {
    this.#memory = new Int32Array(memory)
    this.#ageMs = Math.max(1, ttlMs / 2)
    this.#words = Math.ceil(Math.max(32, slots) / 32)
    this.#stride = strideOf(slots)
    this.#mask = this.#memory.length / this.#stride - 1
  }

  /** Adds the endpoints that are believed to hold the key to the set at the beginning of `sets`. */
  addTo(low: number, high: number, sets: Int32Array, nowMs: number): void {
    const memory = this.#memory
    const at = this.#at(low, high)
    if (memory[at] !== low || memory[at + 1] !== high) return
    const passed = ((Math.floor(nowMs / this.#ageMs) | 0) - memory[at + 2]!) | 0
    if (passed < 0) return
    for (let age = 0; age < AGES - passed; age++)
      for (let word = 0; word < this.#words; word++) sets[word]! |= memory[at + HEAD + age * this.#words + word]!
  }

  /** The request goes to this endpoint. `unit` as the match had it. */
  record(tokens: TokenIds, seed: string, adapter: string, unit: number, slot: number, nowMs: number): void {
    if (unit <= 0) return
    // As a 32-bit integer: only differences matter.
    const age = Math.floor(nowMs / this.#ageMs) | 0
    this.#cursor.begin(tokens, seed, adapter)
    while (this.#cursor.nextPrompt())
      while (this.#cursor.advance(unit)) this.#note(this.#cursor.low, this.#cursor.high, slot, age)
  }

  #note(low: number, high: number, slot: number, age: number): void {
    const memory = this.#memory
    const words = this.#words
    const at = this.#at(low, high)
    const sets = at + HEAD
    if (memory[at] !== low || memory[at + 1] !== high) {
      memory.fill(0, at, at + this.#stride)
      memory[at] = low
      memory[at + 1] = high
      memory[at + 2] = age
    }
    const passed = (age - memory[at + 2]!) | 0
    if (passed !== 0) {
      // A clock that was set back makes old hints void.
      if (passed < 0 || passed >= AGES) memory.fill(0, sets, sets + AGES * words)
      else {
        memory.copyWithin(sets + passed * words, sets, sets + (AGES - passed) * words)
        memory.fill(0, sets, sets + passed * words)
      }
      memory[at + 2] = age
    }
    memory[sets + (slot >> 5)]! |= 1 << (slot & 31)
  }

  #at(low: number, high: number): number {
    return ((high ^ (low >>> 7)) & this.#mask) * this.#stride
  }
}

function strideOf(slots: number): number {
  return HEAD + AGES * Math.ceil(Math.max(32, slots) / 32)
}
