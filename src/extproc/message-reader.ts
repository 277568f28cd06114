import { Buffer } from 'node:buffer'
import { decodeBody, decodeOuter, decodeRequest, type IncomingMessage } from './decode-request.ts'
import { RequestKind } from './modes.ts'
import { WireReader } from './wire.ts'

/** What became of a part. */
export const PartResult = {
  /** Kept or passed on; the message goes on. */
  MORE: 0,
  /** A piece of a body: `bodyKind`, `pieceStart`, `pieceEnd` in the part. */
  PIECE: 1,
  /** The message is complete and decoded. A body's bytes that went by as pieces are not in it any more. */
  MESSAGE: 2,
  MALFORMED: 3,
  /** A message that is not a body grew beyond the bound. */
  TOO_LARGE: 4,
} as const
export type PartResult = (typeof PartResult)[keyof typeof PartResult]

const reader = new WireReader()
/** Tag and length of the oneof, tag and length of `body`: at most 1 + 5 + 1 + 5 bytes. */
const BODY_HEAD_BYTES = 12
const BODY_TAG = (1 << 3) | 2
const NOTHING = Buffer.alloc(0)
/** Headers, trailers and metadata that come in parts are gathered up to here, bytes. */
const MAX_GATHERED_BYTES = 1024 * 1024

/**
 * Turns the parts of gRPC messages into decoded messages. A whole message is decoded where it lies. The bytes of a body
 * message that arrives in parts are passed on piece by piece, so that scanning starts before a 1 MiB message is complete.
 * One per stream, and only for streams that get a message in parts.
 */
export class MessageReader {
  bodyKind: RequestKind = RequestKind.NONE
  pieceStart = 0
  pieceEnd = 0
  /** Bytes of the body still to come as pieces. */
  #bodyLeft = 0
  /** Bytes of `HttpBody` after its `body` field. */
  #innerLeft = 0
  #streaming = false
  /** Grows by doubling: parts may be a byte long, and an object each would cost a hundred times that. */
  #gathered = NOTHING
  #gatheredBytes = 0

  /** Bytes of the body message under way that are still to come. */
  get bodyLeft(): number {
    return this.#bodyLeft
  }

  /** Bytes kept of the message under way. */
  get gatheredBytes(): number {
    return this.#gatheredBytes
  }

  /** True between the parts of a message. */
  get busy(): boolean {
    return this.#streaming || this.#gatheredBytes > 0
  }

  /** Takes a part with `remaining` bytes of its message still to come. May have to be called again: see `rest`. */
  part(part: Buffer, remaining: number, out: IncomingMessage): PartResult {
    if (!this.busy && remaining === 0) {
      return decodeRequest(part, 0, part.length, out) ? PartResult.MESSAGE : PartResult.MALFORMED
    }
    if (!this.#streaming) {
      if (this.#gatheredBytes < BODY_HEAD_BYTES && this.#gatheredBytes + part.length + remaining >= BODY_HEAD_BYTES) {
        const started = this.#start(part)
        if (started !== PartResult.MORE) return started
      }
      return this.#gather(part, remaining, out)
    }
    return this.#piece(part, 0, remaining, out)
  }

  /** Tries to recognise a body message by its first bytes; the common case has them all in the first part. */
  #start(part: Buffer): PartResult {
    const head =
      this.#gatheredBytes === 0 ? part : Buffer.concat([this.#gathered.subarray(0, this.#gatheredBytes), part])
    const kind = head[0]! >>> 3
    if ((kind !== RequestKind.REQUEST_BODY && kind !== RequestKind.RESPONSE_BODY) || (head[0]! & 7) !== 2)
      return PartResult.MORE
    let at = reader.varint(head, 1, head.length)
    if (at < 0 || at >= head.length || head[at] !== BODY_TAG) return PartResult.MORE
    const inner = reader.value
    const tagAt = at
    at = reader.varint(head, at + 1, head.length)
    if (at < 0) return PartResult.MORE
    const body = reader.value
    const innerLeft = inner - (at - tagAt) - body
    if (innerLeft < 0) return PartResult.MALFORMED
    this.#streaming = true
    this.bodyKind = kind as RequestKind
    this.#bodyLeft = body
    this.#innerLeft = innerLeft
    // Where the head ended inside this part; a head gathered before left nothing of the body behind.
    const offset = at - this.#gatheredBytes
    this.#gathered = NOTHING
    this.#gatheredBytes = 0
    if (offset < 0) return PartResult.MALFORMED
    this.pieceStart = offset
    this.pieceEnd = Math.min(part.length, offset + body)
    this.#bodyLeft -= this.pieceEnd - offset
    if (this.pieceEnd < part.length) this.#keep(part.subarray(this.pieceEnd))
    return PartResult.PIECE
  }

  #piece(part: Buffer, from: number, remaining: number, out: IncomingMessage): PartResult {
    if (this.#bodyLeft > 0) {
      this.pieceStart = from
      this.pieceEnd = Math.min(part.length, from + this.#bodyLeft)
      this.#bodyLeft -= this.pieceEnd - from
      if (this.pieceEnd < part.length) this.#keep(part.subarray(this.pieceEnd))
      return PartResult.PIECE
    }
    if (from < part.length) this.#keep(part)
    return this.finish(remaining, out)
  }

  /** After a PIECE: completes the message when nothing of it is to come. */
  finish(remaining: number, out: IncomingMessage): PartResult {
    if (remaining > 0) return this.#gatheredBytes > MAX_GATHERED_BYTES ? PartResult.TOO_LARGE : PartResult.MORE
    if (!this.#streaming || this.#bodyLeft > 0) return PartResult.MALFORMED
    const tail = this.#join()
    this.#streaming = false
    out.clear()
    out.bytes = tail
    out.kind = this.bodyKind
    if (this.#innerLeft > tail.length || !decodeBody(tail, 0, this.#innerLeft, out)) return PartResult.MALFORMED
    const { endOfStream } = out
    if (!decodeOuter(tail, this.#innerLeft, tail.length, out) || out.kind !== this.bodyKind) return PartResult.MALFORMED
    out.endOfStream = endOfStream
    out.bodyStart = 0
    out.bodyEnd = 0
    return PartResult.MESSAGE
  }

  #gather(part: Buffer, remaining: number, out: IncomingMessage): PartResult {
    this.#keep(part)
    // Too few bytes to tell a body: that may still be recognised by the next part.
    if (this.#gatheredBytes >= BODY_HEAD_BYTES && this.#gatheredBytes + remaining > MAX_GATHERED_BYTES)
      return PartResult.TOO_LARGE
    if (remaining > 0) return PartResult.MORE
    const whole = this.#join()
    return decodeRequest(whole, 0, whole.length, out) ? PartResult.MESSAGE : PartResult.MALFORMED
  }

  /** Copies: parts are only lent, and what is gathered is small. */
  #keep(part: Buffer): void {
    const length = this.#gatheredBytes + part.length
    if (this.#gathered.length < length) {
      const room = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#gathered.length))
      this.#gathered.copy(room, 0, 0, this.#gatheredBytes)
      this.#gathered = room
    }
    part.copy(this.#gathered, this.#gatheredBytes)
    this.#gatheredBytes = length
  }

  #join(): Buffer {
    const joined = this.#gathered.subarray(0, this.#gatheredBytes)
    this.#gathered = NOTHING
    this.#gatheredBytes = 0
    return joined
  }
}
