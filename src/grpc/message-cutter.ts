/**
 * Cuts the bytes of one direction of a gRPC stream into messages, without collecting them: parts go on as they come.
 */
import { PREFIX_BYTES } from './framing.ts'

export interface MessageSink {
  /** A part of the current message and how much of it is still to come. False stops the cutting for good. */
  part(part: Uint8Array, remaining: number): boolean
}

/** How a chunk was taken. Everything but `OK` is final: the rest of the stream means nothing any more. */
export const CutResult = {
  OK: 0,
  /** The sink wanted no more. */
  STOPPED: 1,
  /** Compressed flag set. */
  COMPRESSED: 2,
  /** A flag that gRPC does not define: these bytes are not gRPC. */
  BAD_FLAG: 3,
  /** The prefix announces more than the cap. */
  TOO_LARGE: 4,
} as const
export type CutResult = (typeof CutResult)[keyof typeof CutResult]

const EMPTY = new Uint8Array(0)

export class MessageCutter {
  private readonly maxMessageBytes: number
  /** Bytes of the prefix seen so far; stays at `PREFIX_BYTES` while a message's own bytes are read. */
  private prefixSeen = 0
  private length = 0
  private remaining = 0
  private result: CutResult = CutResult.OK

  constructor(maxMessageBytes: number) {
    this.maxMessageBytes = maxMessageBytes
  }

  /** True between the first byte of a prefix and the last byte of its message: an end here is a truncated message. */
  get insideMessage(): boolean {
    return this.prefixSeen !== 0
  }

  cut(chunk: Uint8Array, sink: MessageSink): CutResult {
    const size = chunk.length
    let at = 0
    while (this.result === CutResult.OK && at < size) {
      if (this.prefixSeen < PREFIX_BYTES) {
        at = this.readPrefix(chunk, at)
        // An empty message is complete with its prefix; any other one goes on with the bytes that follow.
        if (this.prefixSeen < PREFIX_BYTES || this.remaining > 0 || this.result !== CutResult.OK) continue
        this.prefixSeen = 0
        if (!sink.part(EMPTY, 0)) this.result = CutResult.STOPPED
        continue
      }
      const end = Math.min(size, at + this.remaining)
      const part = at === 0 && end === size ? chunk : chunk.subarray(at, end)
      this.remaining -= end - at
      at = end
      if (this.remaining === 0) this.prefixSeen = 0
      if (!sink.part(part, this.remaining)) this.result = CutResult.STOPPED
    }
    return this.result
  }

  private readPrefix(chunk: Uint8Array, start: number): number {
    let at = start
    if (this.prefixSeen === 0) {
      const flag = chunk[at]!
      at++
      if (flag !== 0) {
        this.result = flag === 1 ? CutResult.COMPRESSED : CutResult.BAD_FLAG
        return at
      }
      this.prefixSeen = 1
      this.length = 0
    }
    while (this.prefixSeen < PREFIX_BYTES && at < chunk.length) {
      this.length = ((this.length << 8) | chunk[at]!) >>> 0
      at++
      this.prefixSeen++
    }
    if (this.prefixSeen === PREFIX_BYTES) {
      this.remaining = this.length
      if (this.length > this.maxMessageBytes) this.result = CutResult.TOO_LARGE
    }
    return at
  }
}
