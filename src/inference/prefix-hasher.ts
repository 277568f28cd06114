/**
 * Chained hashes of a prompt's blocks, computed from the pieces as they arrive: hash *i* covers blocks 0 … i, so that two
 * prompts have equal hashes exactly as far as they begin alike. Only whole blocks count. The model is not part of the chain
 * (it may come last in the body): `PrefixIndex` mixes it in.
 *
 * 64 bits in two 32-bit lanes of multiply and rotate: no BigInt, no WebAssembly call. Budget: 256 bytes in 120 ns, 16 KB in
 * 8 µs (measured 107 and 6.8; xxhash-wasm's h64Raw took 135 ns plus a BigInt). Not cryptographic: a forged collision only sends
 * the forger's own request to a replica that lacks its prefix, and the index looks at one bucket a key, so that keys that meet cost no
 * time. There is no secret in it: replicas of Signalbox tell each other these hashes (src/peers). Hashers are pooled; `reset` makes
 * one ready, nothing is allocated per request.
 */

const STAGE_BYTES = 4096
/** Below this a loop is cheaper than a call of `copy`. */
const COPY_LOOP = 24
const copyBytes = Buffer.prototype.copy

// As 32-bit integers: beyond 2³¹ they would be floating-point numbers, converted at every use (a third of the time).
const P1 = 0x9e3779b1 | 0
const P2 = 0x85ebca77 | 0
const P3 = 0xc2b2ae3d | 0
const P4 = 0x27d4eb2f | 0

/** Chained hashes of blocks: `low[i]`, `high[i]` for each `i < count`. */
export interface BlockHashes {
  readonly count: number
  readonly low: Int32Array
  readonly high: Int32Array
}

export class PrefixHasher implements BlockHashes {
  /** Bytes a block, a multiple of 8. */
  blockBytes = 0
  /** Blocks that count; the rest of the prompt is ignored. */
  maxBlocks = 0
  /** Whole blocks so far; their chained hashes are `low[i]`, `high[i]`. */
  count = 0
  low = new Int32Array(0)
  high = new Int32Array(0)

  /** Unhashed bytes, at most one incomplete block between calls. */
  #stage: Buffer = Buffer.alloc(0)
  #words = new Int32Array(0)
  #staged = 0

  /** Starts a new prompt. `blockBytes` is rounded up to a multiple of 8; `maxBytes` of the prompt count, the rest is ignored. */
  reset(blockBytes: number, maxBytes: number): void {
    this.count = 0
    this.#staged = 0
    const size = Math.max(8, Math.ceil(blockBytes / 8) * 8)
    this.maxBlocks = Math.max(0, Math.floor(maxBytes / size))
    if (size !== this.blockBytes) {
      this.blockBytes = size
      const memory = new ArrayBuffer(size * Math.max(1, Math.floor(STAGE_BYTES / size)))
      this.#stage = Buffer.from(memory)
      this.#words = new Int32Array(memory)
    }
    if (this.low.length < this.maxBlocks) {
      this.low = new Int32Array(this.maxBlocks)
      this.high = new Int32Array(this.maxBlocks)
    }
  }

  /** Whether further bytes would change nothing. */
  get full(): boolean {
    return this.count === this.maxBlocks
  }

  /** No byte of the prompt has come, or none of it counts. */
  get isEmpty(): boolean {
    return this.count === 0 && this.#staged === 0
  }

  /** The next bytes of the prompt: `chunk[start, end)`. Any split of a prompt gives the same hashes. */
  update(chunk: Uint8Array, start: number, end: number): void {
    let at = start
    while (at < end && this.count < this.maxBlocks) {
      const take = Math.min(end - at, this.#stage.length - this.#staged)
      if (take < COPY_LOOP) {
        for (let i = 0; i < take; i++) this.#stage[this.#staged + i] = chunk[at + i]!
      } else {
        copyBytes.call(chunk, this.#stage, this.#staged, at, at + take)
      }
      at += take
      this.#staged += take
      if (this.#staged >= this.blockBytes) this.#hashStage()
    }
  }

  /**
   * Of a prompt that has ended: puts the chained hash of the bytes after its last whole block behind those of the blocks, at `low[count]`
   * and `high[count]`. False: there are none. Nothing may be added to the prompt afterwards.
   */
  hashTail(): boolean {
    const staged = this.#staged
    if (staged === 0 || this.full) return false
    this.#stage.fill(0, staged, this.blockBytes)
    this.#hashBlock(0)
    this.count--
    this.low[this.count] = finish(this.low[this.count]! ^ staged)
    return true
  }

  #hashStage(): void {
    const blocks = Math.min(Math.floor(this.#staged / this.blockBytes), this.maxBlocks - this.count)
    for (let i = 0; i < blocks; i++) this.#hashBlock(i)
    const hashed = blocks * this.blockBytes
    if (this.#staged > hashed) this.#stage.copyWithin(0, hashed, this.#staged)
    this.#staged -= hashed
  }

  #hashBlock(block: number): void {
    const words = this.#words
    const length = this.blockBytes >> 2
    const from = block * length
    const index = this.count
    let a = index === 0 ? P3 : this.low[index - 1]!
    let b = index === 0 ? P4 : this.high[index - 1]!
    for (let i = from; i < from + length; i += 2) {
      // Words are mixed before they meet the lane: else a change in one word's top byte can be undone by the next word.
      let x = Math.imul(words[i]!, P1)
      x = Math.imul((x << 15) | (x >>> 17), P2)
      a ^= x
      a = (((a << 13) | (a >>> 19)) * 5 + P3) | 0
      let y = Math.imul(words[i + 1]!, P2)
      y = Math.imul((y << 16) | (y >>> 16), P1)
      b ^= y
      b = (((b << 17) | (b >>> 15)) * 5 + P4) | 0
    }
    // Each lane has seen half of the words: cross them twice.
    a = finish(a ^ Math.imul(b, P3))
    b = finish(b ^ Math.imul(a, P4))
    this.low[index] = a
    this.high[index] = b
    this.count = index + 1
  }
}

/** Avalanche of one 32-bit word (every input bit reaches every output bit). */
export function finish(word: number): number {
  let hash = word
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b | 0)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35 | 0)
  return hash ^ (hash >>> 16)
}
