/** Body chunks that wait for an answer of the processor; a bounded amount, beyond which the source is asked to wait. */
import { type Flow, HoldReason } from './message-sink.ts'

export interface Chunk {
  readonly bytes: Uint8Array
  readonly end: boolean
  /** The processor was told. */
  sent: boolean
}

export class HeldChunks {
  /** Bytes held. */
  bytes = 0
  #chunks: Chunk[] = []
  readonly #flow: Flow
  readonly #limit: number

  constructor(flow: Flow, limit: number) {
    this.#flow = flow
    this.#limit = limit
  }

  get empty(): boolean {
    return this.#chunks.length === 0
  }

  get first(): Chunk | undefined {
    return this.#chunks[0]
  }

  get overLimit(): boolean {
    return this.bytes > this.#limit
  }

  /** At least one chunk waits for its answer. */
  get asked(): boolean {
    return this.#chunks.some(chunk => chunk.sent)
  }

  [Symbol.iterator](): Iterator<Chunk> {
    return this.#chunks[Symbol.iterator]()
  }

  /** `pauses`: beyond the limit the source waits; otherwise it is for the caller to do something. */
  add(bytes: Uint8Array, end: boolean, pauses: boolean): void {
    this.#chunks.push({ bytes, end, sent: false })
    this.bytes += bytes.length
    if (pauses && this.overLimit) this.#flow.hold(HoldReason.FILTER)
  }

  shift(): Chunk | undefined {
    const chunk = this.#chunks.shift()
    this.bytes -= chunk?.bytes.length ?? 0
    if (this.bytes <= this.#limit / 2) this.#flow.release(HoldReason.FILTER)
    return chunk
  }

  /** Makes one sent chunk of all. */
  join(end: boolean): Uint8Array {
    const [only] = this.#chunks
    const bytes =
      only !== undefined && this.#chunks.length === 1
        ? only.bytes
        : Buffer.concat(this.#chunks.map(chunk => chunk.bytes))
    this.#chunks = [{ bytes, end, sent: true }]
    return bytes
  }

  takeAll(): Chunk[] {
    const chunks = this.#chunks
    this.#chunks = []
    this.bytes = 0
    this.#flow.release(HoldReason.FILTER)
    return chunks
  }
}
