/**
 * What threads note in a pool's prefix index, for the main thread to tell other replicas: a ring for each thread in shared memory. One thread
 * writes a ring, the main thread reads it; an entry counts once it is whole. A full ring drops entries: they are hints.
 *
 * An entry: number of blocks, slot, generation, bytes of the prompt, then the low and high half of each block's key in the index, head of the chain first.
 */
import { type BlockHashes, finish } from './prefix-hasher.ts'

/** 32-bit words of a ring: 250 prompts of 32 blocks. */
const RING_WORDS = 1 << 14
/** Words read and words written so far, modulo 2³². */
const TAIL = 0
const HEAD = 1
const RING = 16
const ENTRY_HEAD = 4

export function createPrefixLogMemory(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * (RING + RING_WORDS) * Int32Array.BYTES_PER_ELEMENT)
}

/** One thread's ring. */
export class PrefixLog {
  readonly #words: Int32Array
  /** Keys of the entry that is read, low and high halves in turn. */
  #keys = new Int32Array(256)

  /** @param thread its column, as in an endpoint table */
  constructor(memory: SharedArrayBuffer, thread: number) {
    const words = RING + RING_WORDS
    this.#words = new Int32Array(memory, thread * words * Int32Array.BYTES_PER_ELEMENT, words)
  }

  /** The endpoint is about to hold the prompt's blocks; `seed` as for `PrefixIndex.record`. */
  note({ count, low, high }: BlockHashes, seed: number, slot: number, generation: number, promptBytes: number): void {
    const words = this.#words
    const head = words[HEAD]!
    const used = (head - Atomics.load(words, TAIL)) | 0
    if (count === 0 || used + ENTRY_HEAD + 2 * count > RING_WORDS) return
    this.#put(head, count)
    this.#put(head + 1, slot)
    this.#put(head + 2, generation)
    this.#put(head + 3, promptBytes)
    for (let i = 0, at = head + ENTRY_HEAD; i < count; i++, at += 2) {
      this.#put(at, finish(low[i]! ^ seed))
      this.#put(at + 1, high[i]!)
    }
    Atomics.store(words, HEAD, (head + ENTRY_HEAD + 2 * count) | 0)
  }

  /** Main thread: takes all entries. `keys[0, 2 × blocks)` is only valid during the call. */
  drain(
    visit: (slot: number, generation: number, keys: Int32Array, blocks: number, promptBytes: number) => void,
  ): void {
    const words = this.#words
    const head = Atomics.load(words, HEAD)
    let tail = words[TAIL]!
    while (tail !== head) {
      const blocks = this.#get(tail)
      if (this.#keys.length < 2 * blocks) this.#keys = new Int32Array(4 * blocks)
      for (let i = 0; i < 2 * blocks; i++) this.#keys[i] = this.#get(tail + ENTRY_HEAD + i)
      visit(this.#get(tail + 1), this.#get(tail + 2), this.#keys, blocks, this.#get(tail + 3))
      tail = (tail + ENTRY_HEAD + 2 * blocks) | 0
    }
    Atomics.store(words, TAIL, tail)
  }

  #put(at: number, value: number): void {
    this.#words[RING + (at & (RING_WORDS - 1))] = value
  }

  #get(at: number): number {
    return this.#words[RING + (at & (RING_WORDS - 1))]!
  }
}
