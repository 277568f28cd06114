/**
 * Which endpoint holds which blocks of KV cache, as the engines tell it: key of the tokens up to a block's end (./token-chain.ts) → for each
 * tier a set of endpoint slots. In a SharedArrayBuffer: the main thread writes (./kv-index-writer.ts), threads that pick read.
 *
 * **Protocol.** One writer. It makes a bucket's version odd, changes the bucket, and makes the version even again. A reader takes the
 * version, reads, and looks again: if it has changed, what was read does not count. After some tries nobody is taken to hold the block.
 * Every access to a bucket is an atomic one, so sequentially consistent: a reader never takes a set for that of another key. A match of
 * many blocks is no snapshot: blocks that come and go meanwhile are in it or not. While the writer fills a larger table, some buckets
 * with each change, it keeps the old one up to date, and readers go on with that until they are given the new.
 *
 * Budget: 64 blocks matched against 100 endpoints in 10 µs, their keys included.
 */
import { KeyCursor } from './key-cursor.ts'
import {
  firstBucket,
  HIGH,
  type KvIndexLayout,
  kvIndexLayout,
  type KvIndexState,
  MAX_BLOCK_SIZES,
  secondBucket,
  SETS,
  VERSION,
  WAYS,
} from './kv-index-state.ts'
import type { SpeculativeIndex } from './speculative-index.ts'
import type { TokenIds } from './token-ids.ts'

const TRIES = 8

export class KvIndex {
  readonly #buckets: number
  readonly #layout: KvIndexLayout
  readonly #memory: Int32Array
  /** Weight of each tier, the best first. */
  readonly #weights: Float64Array
  readonly #cursor = new KeyCursor()
  /** Scratch: the sets of the block under the cursor, tier by tier, and the endpoints that hold all blocks so far. */
  readonly #sets: Int32Array
  readonly #holders: Int32Array
  /** The header as it was when the match began: block sizes, and the slots of each. */
  readonly #sizes = new Int32Array(MAX_BLOCK_SIZES)
  readonly #members: Int32Array

  constructor(state: KvIndexState, weights: readonly number[]) {
    this.#buckets = state.buckets
    this.#layout = kvIndexLayout(state)
    this.#memory = new Int32Array(state.memory)
    this.#weights = Float64Array.from(weights)
    const { words, way } = this.#layout
    this.#sets = new Int32Array(way)
    this.#holders = new Int32Array(words)
    this.#members = new Int32Array(MAX_BLOCK_SIZES * words)
  }

  /** Tokens a step that meets the boundaries of all engines' blocks; 0: none of them has told anything. */
  get unit(): number {
    let unit = 0
    for (let c = 0; c < MAX_BLOCK_SIZES; c++) unit = gcd(unit, Atomics.load(this.#memory, this.#layout.blockSizes + c))
    return unit
  }

  /** Whether the endpoint tells what it holds. */
  follows(slot: number): boolean {
    const { members, words } = this.#layout
    let set = 0
    for (let c = 0; c < MAX_BLOCK_SIZES; c++) set |= Atomics.load(this.#memory, members + c * words + (slot >> 5))
    return ((set >>> (slot & 31)) & 1) === 1
  }

  /**
   * Sets `matched[slot]` to the tokens of the prompt's longest prefix that the endpoint holds in whole blocks of its own, each weighted
   * by the best tier that has it; 0 for all others. `matched` needs an element a slot. Of several prompts it is the sum. `adapter`
   * '' = the base model. Returns whether any endpoint tells what it holds.
   */
  match(
    tokens: TokenIds,
    seed: string,
    adapter: string,
    matched: Float64Array,
    speculative: SpeculativeIndex | undefined,
    nowMs: number,
  ): boolean {
    matched.fill(0)
    const unit = this.#takeHeader()
    if (unit === 0) return false
    this.#cursor.begin(tokens, seed, adapter)
    while (this.#cursor.nextPrompt()) this.#matchPrompt(unit, matched, speculative, nowMs)
    return true
  }

  #takeHeader(): number {
    const { blockSizes, members, words } = this.#layout
    let unit = 0
    for (let c = 0; c < MAX_BLOCK_SIZES; c++) {
      const size = Atomics.load(this.#memory, blockSizes + c)
      this.#sizes[c] = size
      unit = gcd(unit, size)
      for (let word = 0; word < words; word++)
        this.#members[c * words + word] = size === 0 ? 0 : Atomics.load(this.#memory, members + c * words + word)
    }
    return unit
  }

  #matchPrompt(unit: number, matched: Float64Array, speculative: SpeculativeIndex | undefined, nowMs: number): void {
    const { words } = this.#layout
    const cursor = this.#cursor
    const holders = this.#holders
    const best = this.#weights[0]!
    let any = 0
    for (let word = 0; word < words; word++) {
      let all = 0
      for (let c = 0; c < MAX_BLOCK_SIZES; c++) all |= this.#members[c * words + word]!
      holders[word] = all
      any |= all
    }
    let end = 0
    while (any !== 0 && cursor.advance(unit)) {
      end = cursor.position
      this.#read(cursor.low, cursor.high)
      speculative?.addTo(cursor.low, cursor.high, this.#sets, nowMs)
      any = 0
      for (let word = 0; word < words; word++) {
        if (holders[word] === 0) continue
        for (let c = 0; c < MAX_BLOCK_SIZES; c++) {
          const size = this.#sizes[c]!
          const concerned = holders[word]! & this.#members[c * words + word]!
          if (concerned === 0 || end % size !== 0) continue
          let held = 0
          for (let at = word; at < this.#sets.length; at += words) held |= this.#sets[at]!
          const lost = concerned & ~held
          if (lost !== 0) {
            addToAll(matched, word, lost, (end - size) * best)
            holders[word]! &= ~lost
          }
          const lower = concerned & held & ~this.#sets[word]!
          if (lower !== 0) this.#lower(word, lower, matched, size)
        }
        any |= holders[word]!
      }
    }
    if (any === 0) return
    for (let c = 0; c < MAX_BLOCK_SIZES; c++) {
      const size = this.#sizes[c]!
      if (size === 0) continue
      const tokens = (end - (end % size)) * best
      for (let word = 0; word < words; word++)
        addToAll(matched, word, holders[word]! & this.#members[c * words + word]!, tokens)
    }
  }

  /** These endpoints hold a block in a lower tier only: it counts less than the best tier's. */
  #lower(word: number, bits: number, matched: Float64Array, size: number): void {
    const { words } = this.#layout
    let rest = bits
    for (let tier = 1; rest !== 0; tier++) {
      const here = rest & this.#sets[tier * words + word]!
      if (here !== 0) addToAll(matched, word, here, size * (this.#weights[tier]! - this.#weights[0]!))
      rest &= ~here
    }
  }

  /** Puts the sets of a key into `#sets`; they are empty where nobody holds it. */
  #read(low: number, high: number): void {
    if (!this.#readAt(firstBucket(high, this.#buckets), low, high))
      if (!this.#readAt(secondBucket(low, high, this.#buckets), low, high)) this.#sets.fill(0)
  }

  #readAt(index: number, low: number, high: number): boolean {
    const memory = this.#memory
    const { stride, way, buckets } = this.#layout
    const bucket = buckets + index * stride
    for (let tries = 0; tries < TRIES; tries++) {
      const version = Atomics.load(memory, bucket + VERSION)
      if ((version & 1) !== 0) continue
      let at = -1
      for (let i = 0; i < WAYS; i++) {
        if (Atomics.load(memory, bucket + i) === low && Atomics.load(memory, bucket + HIGH + i) === high) {
          at = bucket + SETS + i * way
          break
        }
      }
      if (at >= 0) for (let i = 0; i < way; i++) this.#sets[i] = Atomics.load(memory, at + i)
      if (Atomics.load(memory, bucket + VERSION) === version) return at >= 0
    }
    return false
  }
}

/** `values[slot] += value` for each bit of a set's word. */
function addToAll(values: Float64Array, word: number, bits: number, value: number): void {
  let rest = bits
  while (rest !== 0) {
    values[(word << 5) + 31 - Math.clz32(rest & -rest)]! += value
    rest &= rest - 1
  }
}

function gcd(a: number, b: number): number {
  let [x, y] = [a, b]
  while (y !== 0) [x, y] = [y, x % y]
  return x
}
