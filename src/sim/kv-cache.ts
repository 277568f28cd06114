const NONE = -1

/**
 * Blocks of KV cache, by number. A block is either held by sequences (reference count) or free; a free block may still carry
 * the content of a known key and be found again until it is taken for something else: those without content first, then the
 * one freed longest ago.
 */
export class KvCache {
  readonly numBlocks: number
  /** Blocks whose content was thrown away to make room, since the start. */
  evictions = 0
  /** Told of each of them. */
  readonly #evicted: ((key: number) => void) | undefined
  #free: number
  readonly #references: Int32Array
  readonly #keys: Float64Array
  readonly #previous: Int32Array
  readonly #next: Int32Array
  readonly #byKey = new Map<number, number>()
  /** Index of the sentinel of the free list: its next is taken first. */
  readonly #head: number

  constructor(numBlocks: number, evicted?: (key: number) => void) {
    this.#evicted = evicted
    this.numBlocks = numBlocks
    this.#free = numBlocks
    this.#head = numBlocks
    this.#references = new Int32Array(numBlocks)
    this.#keys = new Float64Array(numBlocks).fill(NONE)
    this.#previous = Int32Array.from({ length: numBlocks + 1 }, (_, i) => (i === 0 ? numBlocks : i - 1))
    this.#next = Int32Array.from({ length: numBlocks + 1 }, (_, i) => (i === numBlocks ? 0 : i + 1))
  }

  /** Blocks that no sequence holds, with or without content. */
  get freeBlocks(): number {
    return this.#free
  }

  /** Share of the blocks that sequences hold, 0 to 1. */
  get usage(): number {
    return 1 - this.#free / this.numBlocks
  }

  /** The blocks of the longest known prefix of `keys`, at most `limit`. They are not held yet. */
  match(keys: readonly number[], limit: number): number[] {
    const found: number[] = []
    for (const key of keys) {
      const block = found.length < limit ? this.#byKey.get(key) : undefined
      if (block === undefined) break
      found.push(block)
    }
    return found
  }

  /** Holds `cached` (from `match`) and `count` more blocks; undefined, and nothing changed, when there is no room. */
  allocate(cached: readonly number[], count: number): number[] | undefined {
    let available = this.#free
    for (const block of cached) if (this.#references[block] === 0) available--
    if (available < count) return undefined
    for (const block of cached) {
      if (this.#references[block] === 0) this.#unlink(block)
      this.#references[block]! += 1
    }
    const blocks = [...cached]
    for (let i = 0; i < count; i++) blocks.push(this.#take())
    return blocks
  }

  /** Declares the content of a held block; when another block has it already, that one stays the known one: false. */
  publish(block: number, key: number): boolean {
    if (this.#byKey.has(key) || this.#keys[block] !== NONE) return false
    this.#keys[block] = key
    this.#byKey.set(key, block)
    return true
  }

  /** Lets go of a sequence's blocks. The end of a prefix is less often shared than its start, so it will be evicted first. */
  release(blocks: readonly number[]): void {
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i]!
      this.#references[block]! -= 1
      if (this.#references[block]! > 0) continue
      this.#link(block, this.#keys[block] === NONE ? this.#head : this.#previous[this.#head]!)
    }
  }

  #take(): number {
    const block = this.#next[this.#head]!
    this.#unlink(block)
    this.#references[block] = 1
    const key = this.#keys[block]!
    if (key !== NONE) {
      this.#byKey.delete(key)
      this.#keys[block] = NONE
      this.evictions++
      this.#evicted?.(key)
    }
    return block
  }

  #link(block: number, after: number): void {
    const before = this.#next[after]!
    this.#previous[block] = after
    this.#next[block] = before
    this.#next[after] = block
    this.#previous[before] = block
    this.#free++
  }

  #unlink(block: number): void {
    const previous = this.#previous[block]!
    const next = this.#next[block]!
    this.#next[previous] = next
    this.#previous[next] = previous
    this.#free--
  }
}
