import { writeFrameHead, writeUint32, FRAME_HEAD_BYTES, FrameType } from './frame.ts'
import type { Wire } from './wire.ts'

const SLAB_BYTES = 32 * 1024
/** Slabs that no connection writes to; more are left to the garbage collector. */
const MAX_SPARE = 64
const spare: Buffer[] = []
const { copy } = Buffer.prototype

/** Pieces of this many bytes and more are handed on, smaller ones are copied: a copy is cheaper than another vector. */
const BORROW_BYTES = 8 * 1024

/** What one connection says during one batch of upward calls: frames side by side in a slab, large payloads by reference. */
export class Output {
  readonly #wire: Wire
  #slab: Buffer | undefined
  /** `[from, at)` of the slab is not among the pieces yet. */
  #from = 0
  #at = 0
  readonly #pieces: Uint8Array[] = []
  /** Bytes written since the last flush. */
  bytes = 0

  constructor(wire: Wire) {
    this.#wire = wire
  }

  /** Copies a constant. */
  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length)
    this.#slab!.set(bytes, at)
  }

  /** A frame's head; its payload must follow. */
  head(length: number, type: number, flags: number, stream: number): void {
    const at = this.#reserve(FRAME_HEAD_BYTES)
    writeFrameHead(this.#slab!, at, length, type, flags, stream)
  }

  /** A frame whose payload is one number: RST_STREAM, WINDOW_UPDATE. */
  number(type: number, stream: number, value: number): void {
    const at = this.#reserve(FRAME_HEAD_BYTES + 4)
    writeUint32(this.#slab!, writeFrameHead(this.#slab!, at, 4, type, 0, stream), value)
  }

  /** A whole frame with a given payload. */
  frame(type: number, flags: number, stream: number, payload: Uint8Array): void {
    const at = this.#reserve(FRAME_HEAD_BYTES + payload.length)
    this.#slab!.set(payload, writeFrameHead(this.#slab!, at, payload.length, type, flags, stream))
  }

  goaway(lastStream: number, code: number, why: string): void {
    const text = Buffer.from(why)
    this.head(8 + text.length, FrameType.GOAWAY, 0, 0)
    const at = this.#reserve(8 + text.length)
    this.#slab!.set(text, writeUint32(this.#slab!, writeUint32(this.#slab!, at, lastStream), code))
  }

  /** Part of a payload. Large ones are kept by reference until they are with the kernel. */
  payload(bytes: Uint8Array, start: number, end: number): void {
    const size = end - start
    if (size < BORROW_BYTES) {
      const at = this.#reserve(size)
      copy.call(bytes, this.#slab!, at, start, end)
      return
    }
    this.#cut()
    this.#pieces.push(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end))
    this.bytes += size
  }

  /** Hands everything to the socket. */
  flush(): void {
    if (this.bytes === 0) return
    this.bytes = 0
    this.#cut()
    const taken = this.#wire.write(this.#pieces)
    // One by one: setting the length is a call into the engine.
    while (this.#pieces.length > 0) this.#pieces.pop()
    if (taken && spare.length < MAX_SPARE && this.#slab !== undefined) spare.push(this.#slab)
    this.#slab = undefined
  }

  /** The slab's unwritten part becomes a piece. */
  #cut(): void {
    if (this.#at === this.#from) return
    this.#pieces.push(this.#slab!.subarray(this.#from, this.#at))
    this.#from = this.#at
  }

  #reserve(bytes: number): number {
    if (this.#slab === undefined || this.#slab.length - this.#at < bytes) {
      if (this.#slab !== undefined) this.#cut()
      this.#slab =
        bytes > SLAB_BYTES ? Buffer.allocUnsafeSlow(bytes) : (spare.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES))
      this.#from = 0
      this.#at = 0
    }
    const at = this.#at
    this.#at += bytes
    this.bytes += bytes
    return at
  }
}
