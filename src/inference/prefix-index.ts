/**
 * Approximate picture of the replicas' prefix caches: which endpoint was lately sent which block (./prefix-hasher.ts). One table for
 * all endpoints of a pool, in a SharedArrayBuffer: each entry is a 64-bit key, the block's depth in its chain and two sets of
 * endpoint slots, `recent` and `older`. A match walks the chain and intersects the holders of its blocks, so that it is
 * contiguous for each endpoint and ends at the first block that nobody holds.
 *
 * **Ageing** drops what was recorded long ago (./prefix-ageing.ts). Every recording touches a chain from its head on, so that a tail never
 * outlives its head. A full bucket gives up an entry that nobody used recently, the deepest of those.
 *
 * **Threads** write entries without locks or atomics: a bit can get lost, a key can be torn by two threads that fill one entry at
 * once. The worst outcome is a wrong or lost hint; nothing depends on the index being right. The main thread alone forgets slots and makes
 * room; while it copies the table into a larger one, what other threads record in the old one until they adopt the new is lost, as hints may
 * be.
 *
 * Budget: 64 blocks matched against 100 endpoints in 5 µs, recorded in 2 µs when known, 30 µs when new (each new block is a cache
 * miss or two in a large table). Memory: 12 + slots ÷ 4 bytes an entry, 1.25–2.5 entries per block and endpoint, at most 128 MiB.
 */
import { adapterId } from './adapter-id.ts'
import { PrefixAgeing } from './prefix-ageing.ts'
import { type BlockHashes, finish } from './prefix-hasher.ts'
import {
  createPrefixIndexState,
  DEPTH,
  HIGH,
  prefixIndexLayout,
  prefixIndexShape,
  type PrefixIndexSize,
  type PrefixIndexState,
  roomIn,
  SETS,
  WAYS,
} from './prefix-index-state.ts'

export class PrefixIndex {
  #state!: PrefixIndexState
  /** All of the memory, in 32-bit words. */
  #memory!: Int32Array
  /** Words of a set of slots. */
  #words = 0
  /** Offsets in `#memory`. */
  #buckets = 0
  #end = 0
  #ageing!: PrefixAgeing
  /** Scratch of `match`. */
  #holders!: Int32Array

  constructor(from: PrefixIndexSize | PrefixIndexState) {
    this.#map('memory' in from ? from : createPrefixIndexState(from))
  }

  /** For another thread's index on the same memory; another object after `reserve` made room. */
  get state(): PrefixIndexState {
    return this.#state
  }

  /**
   * Sets `matched[slot]` to the number of leading blocks of the prompt that the endpoint holds, 0 for the others. `matched` needs
   * an element per slot. Returns the longest match. `model` comes from `prefixSeed`.
   */
  match(hasher: BlockHashes, model: number, matched: Int32Array): number {
    matched.fill(0)
    const memory = this.#memory
    const holders = this.#holders
    const words = this.#words
    const { count, low, high } = hasher
    holders.fill(-1)
    let depth = 0
    for (; depth < count; depth++) {
      const entry = this.#find(finish(low[depth]! ^ model), high[depth]!)
      if (entry < 0) break
      let any = 0
      for (let word = 0; word < words; word++) {
        const held = memory[entry + word]! | memory[entry + words + word]!
        const before = holders[word]!
        const lost = before & ~held
        if (lost !== 0) {
          if (depth > 0) setAll(matched, word, lost, depth)
          holders[word] = before & held
        }
        any |= before & held
      }
      if (any === 0) return depth
    }
    if (depth > 0) for (let word = 0; word < words; word++) setAll(matched, word, holders[word]!, depth)
    return depth
  }

  /** Notes that the endpoint is about to hold all blocks of the prompt. */
  record(hasher: BlockHashes, model: number, slot: number): void {
    const memory = this.#memory
    const words = this.#words
    const word = slot >> 5
    const bit = 1 << (slot & 31)
    const { count, low, high } = hasher
    let added = 0
    for (let depth = 0; depth < count; depth++) {
      const key = finish(low[depth]! ^ model)
      let entry = this.#find(key, high[depth]!)
      if (entry < 0) entry = this.#claim(key, high[depth]!, depth)
      const at = entry + word
      if ((memory[at]! & bit) !== 0) continue
      memory[at]! |= bit
      if ((memory[at + words]! & bit) === 0) added++
    }
    if (added > 0) this.#ageing.added(slot, added)
  }

  /** Leading blocks, by their keys, that the endpoint holds. */
  heldKeys(keys: Int32Array, blocks: number, slot: number): number {
    const memory = this.#memory
    const word = slot >> 5
    const bit = 1 << (slot & 31)
    for (let depth = 0; depth < blocks; depth++) {
      const entry = this.#find(keys[2 * depth]!, keys[2 * depth + 1]!)
      if (entry < 0 || ((memory[entry + word]! | memory[entry + this.#words + word]!) & bit) === 0) return depth
    }
    return blocks
  }

  /** As `record`, of blocks whose keys are known: low and high halves in turn, the head of the chain first. */
  recordKeys(keys: Int32Array, blocks: number, slot: number): void {
    const memory = this.#memory
    const words = this.#words
    const word = slot >> 5
    const bit = 1 << (slot & 31)
    let added = 0
    for (let depth = 0; depth < blocks; depth++) {
      const [low, high] = [keys[2 * depth]!, keys[2 * depth + 1]!]
      let entry = this.#find(low, high)
      if (entry < 0) entry = this.#claim(low, high, depth)
      const at = entry + word
      if ((memory[at]! & bit) !== 0) continue
      memory[at]! |= bit
      if ((memory[at + words]! & bit) === 0) added++
    }
    if (added > 0) this.#ageing.added(slot, added)
  }

  /** The slot's endpoint can hold so many blocks; 0: nobody knows. Control plane only. */
  holds(slot: number, blocks: number): void {
    this.#ageing.holds(slot, blocks)
  }

  /** Forgets everything about these slots: their endpoints have gone, or lost their caches. Costs a pass over the table. */
  forget(slots: readonly number[]): void {
    const mask = new Int32Array(this.#words)
    for (const slot of slots) {
      mask[slot >> 5]! |= 1 << (slot & 31)
      this.#ageing.forget(slot)
    }
    const memory = this.#memory
    const words = this.#words
    const { stride } = this.#state
    for (let bucket = this.#buckets; bucket < this.#end; bucket += stride) {
      for (let way = 0; way < WAYS; way++) {
        if (memory[bucket + way] === 0 && memory[bucket + HIGH + way] === 0) continue
        const sets = bucket + SETS + way * 2 * words
        let left = 0
        for (let word = 0; word < words; word++) {
          left |= memory[sets + word]! &= ~mask[word]!
          left |= memory[sets + words + word]! &= ~mask[word]!
        }
        if (left === 0) memory[bucket + way] = memory[bucket + HIGH + way] = 0
      }
    }
  }

  /** Makes room for more slots or endpoints; what is known is kept. Never shrinks. Control plane only. */
  reserve(size: PrefixIndexSize): void {
    const before = this.#state
    const wanted = { ...size, slots: Math.max(size.slots, before.slots) }
    const { slots, buckets, blocksPerEndpoint } = prefixIndexShape(wanted)
    const fits = slots === before.slots && buckets <= before.buckets
    if (fits && blocksPerEndpoint === before.blocksPerEndpoint) {
      this.#ageing.room = roomIn(before.buckets, wanted)
      return
    }
    const state = createPrefixIndexState(wanted)
    const memory = this.#memory
    const words = this.#words
    const ageing = this.#ageing
    const start = this.#buckets
    const end = this.#end
    this.#map(state)
    const larger = this.#memory
    this.#ageing.goOnFrom(ageing)
    for (let bucket = start; bucket < end; bucket += before.stride) {
      for (let way = 0; way < WAYS; way++) {
        const low = memory[bucket + way]!
        const high = memory[bucket + HIGH + way]!
        if (low === 0 && high === 0) continue
        const sets = bucket + SETS + way * 2 * words
        const entry = this.#claim(low, high, memory[bucket + DEPTH + way]!)
        for (let word = 0; word < words; word++) {
          larger[entry + word] = memory[sets + word]!
          larger[entry + this.#words + word] = memory[sets + words + word]!
        }
      }
    }
  }

  /** A thread has died, perhaps while it started a sweep. */
  threadDied(): void {
    this.#ageing.threadDied()
  }

  /** Offset of the sets of the entry with this key, or −1. */
  #find(low: number, high: number): number {
    const memory = this.#memory
    const bucket = this.#bucket(low)
    for (let way = 0; way < WAYS; way++) {
      if (memory[bucket + way] === low && memory[bucket + HIGH + way] === high) {
        return bucket + SETS + way * 2 * this.#words
      }
    }
    return -1
  }

  /** Makes an entry for the key, without holders. Returns the offset of its sets. */
  #claim(low: number, high: number, depth: number): number {
    const memory = this.#memory
    const setWords = 2 * this.#words
    const bucket = this.#bucket(low)
    let way = 0
    // An entry without holders has a zero key (ageing, forget).
    while (way < WAYS && (memory[bucket + way] !== 0 || memory[bucket + HIGH + way] !== 0)) way++
    if (way === WAYS) {
      way = this.#victim(bucket)
      const sets = bucket + SETS + way * setWords
      memory.fill(0, sets, sets + setWords)
    }
    memory[bucket + way] = low
    memory[bucket + HIGH + way] = high
    memory[bucket + DEPTH + way] = depth
    return bucket + SETS + way * setWords
  }

  /** The entry of a full bucket that is missed least: not recently used, and deep in its chain. */
  #victim(bucket: number): number {
    const memory = this.#memory
    const words = this.#words
    let victim = 0
    let worst = -1
    for (let way = 0; way < WAYS; way++) {
      const sets = bucket + SETS + way * 2 * words
      let recent = 0
      for (let word = 0; word < words; word++) recent |= memory[sets + word]!
      const badness = memory[bucket + DEPTH + way]! + (recent === 0 ? 0x100000 : 0)
      if (badness > worst) {
        worst = badness
        victim = way
      }
    }
    return victim
  }

  #bucket(low: number): number {
    return this.#buckets + (low & (this.#state.buckets - 1)) * this.#state.stride
  }

  #map(state: PrefixIndexState): void {
    const layout = prefixIndexLayout(state.slots)
    this.#state = state
    this.#memory = new Int32Array(state.memory)
    this.#words = state.slots >> 5
    this.#buckets = layout.buckets
    this.#end = layout.buckets + state.buckets * state.stride
    this.#holders = new Int32Array(this.#words)
    this.#ageing = new PrefixAgeing(state, this.#memory)
  }
}

/** The `model` argument of `match` and `record`. */
export function prefixSeed(model: string, salt = ''): number {
  return finish(adapterId(salt === '' ? model : `${model}\0${salt}`))
}

/** `values[slot] = value` for each bit of a set's word. */
function setAll(values: Int32Array, word: number, bits: number, value: number): void {
  let rest = bits
  while (rest !== 0) {
    const bit = 31 - Math.clz32(rest & -rest)
    values[(word << 5) + bit] = value
    rest &= rest - 1
  }
}
