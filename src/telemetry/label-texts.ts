/**
 * Texts in shared memory, in blocks that are chained: what is freed serves texts of any length, so that texts which come and go for days
 * need as much room as the most that were there at once.
 */
const BLOCK_BYTES = 64
const BLOCKS = 128 * 1024
/** Bytes of the memory that they take. */
export const LABEL_TEXTS_BYTES = BLOCKS * (BLOCK_BYTES + Int32Array.BYTES_PER_ELEMENT)

/** Blocks of a text of so many bytes. */
export function blocksOf(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES)
}

/** The reading side. */
export class LabelTexts {
  /** Of a block, the one that follows. */
  readonly next: Int32Array
  readonly bytes: Buffer

  constructor(memory: SharedArrayBuffer, offset: number) {
    this.bytes = Buffer.from(memory, offset, BLOCKS * BLOCK_BYTES)
    this.next = new Int32Array(memory, offset + BLOCKS * BLOCK_BYTES, BLOCKS)
  }

  /** The text of `length` bytes that begins with the block `first`. Nonsense when the writer is at it meanwhile, but it ends. */
  read(first: number, length: number): string {
    const start = first * BLOCK_BYTES
    if (length <= BLOCK_BYTES) return this.bytes.toString('utf8', start, start + length)
    const whole = Buffer.allocUnsafe(length)
    for (let block = first, at = 0; at < length; block = this.next[block]!, at += BLOCK_BYTES) {
      const from = block * BLOCK_BYTES
      this.bytes.copy(whole, at, from, from + Math.min(BLOCK_BYTES, length - at))
    }
    return whole.toString('utf8')
  }
}

/** The writing side: one object a memory at a time. */
export class LabelTextWriter {
  readonly #texts: LabelTexts
  /** First of the free blocks, which are chained too; −1 = none. */
  #free = -1
  /** No block from here on was ever used. */
  #fresh = 0
  #room = BLOCKS

  /** @param used first block and bytes of each text that is there: a successor goes on with them */
  constructor(texts: LabelTexts, used: Iterable<readonly [first: number, length: number]>) {
    this.#texts = texts
    const taken = new Uint8Array(BLOCKS)
    for (const [first, length] of used) {
      for (let block = first, left = blocksOf(length); left > 0; block = texts.next[block]!, left--) {
        taken[block] = 1
        this.#room--
        this.#fresh = Math.max(this.#fresh, block + 1)
      }
    }
    for (let block = 0; block < this.#fresh; block++) if (taken[block] === 0) this.#release(block)
  }

  /** Blocks that are free. */
  get room(): number {
    return this.#room
  }

  /** Returns the first block of the text, of `length` bytes. There must be room for it. */
  write(text: string, length: number): number {
    const { bytes, next } = this.#texts
    const count = blocksOf(length)
    if (count === 0) return 0
    const first = this.#take()
    if (count === 1) {
      bytes.write(text, first * BLOCK_BYTES)
      return first
    }
    const whole = Buffer.from(text)
    for (let block = first, at = 0; ; ) {
      whole.copy(bytes, block * BLOCK_BYTES, at, at + BLOCK_BYTES)
      at += BLOCK_BYTES
      if (at >= length) return first
      block = next[block] = this.#take()
    }
  }

  free(first: number, length: number): void {
    const { next } = this.#texts
    for (let block = first, left = blocksOf(length); left > 0; left--) {
      const following = next[block]!
      this.#release(block)
      this.#room++
      block = following
    }
  }

  #take(): number {
    this.#room--
    if (this.#free < 0) return this.#fresh++
    const block = this.#free
    const following = this.#texts.next[block]!
    this.#free = following === block ? -1 : following
    return block
  }

  /** The last one is followed by itself: what readers find in the middle of a change is a block all the same. */
  #release(block: number): void {
    this.#texts.next[block] = this.#free < 0 ? block : this.#free
    this.#free = block
  }
}
