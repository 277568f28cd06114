import { ErrorCode, Flag, readUint31 } from './frame.ts'

/** CONTINUATION frames of one block. Envoy sends none; a block of the largest list takes four. */
const MAX_CONTINUATIONS = 32

/** The header block under way: one HEADERS frame and its CONTINUATIONs (RFC 9113 §4.3, §6.2, §6.10). */
export class HeaderBlock {
  /** The stream whose block is unfinished; 0: none. */
  openFor = 0
  endStream = false
  /** The frame made the stream depend on itself (§5.3.1 of RFC 7540; a mistake all the same). */
  dependsOnItself = false
  bytes: Buffer = EMPTY
  start = 0
  end = 0
  readonly #maxBytes: number
  #continuations = 0

  /** `maxBytes`: of a block, still compressed. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Takes a HEADERS payload, lent: with END_HEADERS the block must be used before the next call. Returns an error or undefined. */
  begin(stream: number, flags: number, bytes: Buffer, from: number, to: number): ErrorCode | undefined {
    let start = from
    let end = to
    if ((flags & Flag.PADDED) !== 0) {
      if (start === end) return ErrorCode.FRAME_SIZE_ERROR
      end -= bytes[start]!
      start++
      if (end < start) return ErrorCode.PROTOCOL_ERROR
    }
    this.dependsOnItself = false
    if ((flags & Flag.PRIORITY) !== 0) {
      if (end - start < 5) return ErrorCode.FRAME_SIZE_ERROR
      this.dependsOnItself = readUint31(bytes, start) === stream
      start += 5
    }
    this.endStream = (flags & Flag.END_STREAM) !== 0
    this.bytes = bytes
    this.start = start
    this.end = end
    if ((flags & Flag.END_HEADERS) !== 0) return undefined
    this.openFor = stream
    this.#continuations = 0
    this.bytes = Buffer.from(bytes.subarray(start, end))
    this.start = 0
    this.end = this.bytes.length
    return undefined
  }

  /** Takes a CONTINUATION payload. The block is complete when `openFor` is 0 again. */
  append(flags: number, bytes: Buffer, start: number, end: number): ErrorCode | undefined {
    this.#continuations++
    // Nothing but the end of the connection helps: a block that is skipped would leave the tables of both sides out of step.
    if (this.#continuations > MAX_CONTINUATIONS || this.end + end - start > this.#maxBytes)
      return ErrorCode.ENHANCE_YOUR_CALM
    this.bytes = Buffer.concat([this.bytes, bytes.subarray(start, end)])
    this.end = this.bytes.length
    if ((flags & Flag.END_HEADERS) !== 0) this.openFor = 0
    return undefined
  }

  clear(): void {
    this.bytes = EMPTY
  }
}

const EMPTY = Buffer.alloc(0)
