import { Buffer } from 'node:buffer'
import type { ServerStream } from '../grpc/transport.ts'

/**
 * Protobuf wire format (https://protobuf.dev/programming-guides/encoding/), as far as the two hot messages need it.
 *
 * `WireWriter` fills 64 KiB slabs: what `take` returns is a view of the slab and belongs to the caller (it is never written
 * again), so an answer costs no allocation of its own and no copy.
 */

const SLAB_BYTES = 64 * 1024
const GRPC_PREFIX_BYTES = 5
const MAX_NESTING = 16
const { copy } = Buffer.prototype

/** Wire types. */
export const WireType = { VARINT: 0, I64: 1, LEN: 2, SGROUP: 3, EGROUP: 4, I32: 5 } as const

/** Position-returning varint reader; the value is in `value`. Values beyond 32 bits are kept as doubles (lengths never are). */
export class WireReader {
  value = 0

  /** Reads a varint at `at`; returns the position after it, or −1 when it is cut off at `end` or longer than ten bytes. */
  varint(bytes: Uint8Array, at: number, end: number): number {
    let result = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      if (at >= end) return -1
      const byte = bytes[at++]!
      result += (byte & 0x7f) * scale
      if (byte < 0x80) {
        this.value = result
        return at
      }
      scale *= 128
    }
    return -1
  }

  /** Skips a field of the given tag; returns the position after it, or −1 when malformed. */
  skip(bytes: Uint8Array, tag: number, at: number, end: number): number {
    switch (tag & 7) {
      case WireType.VARINT:
        return this.varint(bytes, at, end)
      case WireType.I64:
        return at + 8 <= end ? at + 8 : -1
      case WireType.LEN: {
        const from = this.varint(bytes, at, end)
        return from >= 0 && this.value <= end - from ? from + this.value : -1
      }
      case WireType.I32:
        return at + 4 <= end ? at + 4 : -1
      case WireType.SGROUP:
        return this.#skipGroup(bytes, tag >>> 3, at, end)
      default:
        return -1
    }
  }

  #skipGroup(bytes: Uint8Array, field: number, at: number, end: number): number {
    for (let depth = 0; at < end; ) {
      at = this.varint(bytes, at, end)
      if (at < 0) return -1
      const tag = this.value
      if ((tag & 7) === WireType.EGROUP) {
        if (depth === 0) return tag >>> 3 === field ? at : -1
        depth--
      } else if ((tag & 7) === WireType.SGROUP) {
        if (++depth > MAX_NESTING) return -1
      } else {
        at = this.skip(bytes, tag, at, end)
        if (at < 0) return -1
      }
    }
    return -1
  }
}

/** Writes length-prefixed gRPC messages of nested protobuf fields. One per thread: a step of an exchange writes, then takes. */
export class WireWriter {
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES)
  #from = 0
  #at = 0
  readonly #open = new Int32Array(MAX_NESTING)
  #depth = 0
  #message = 0

  /** Bytes written and not taken. */
  get pending(): number {
    return this.#at - this.#from
  }

  /** Starts a gRPC message: reserves its prefix. */
  beginMessage(): void {
    this.#reserve(GRPC_PREFIX_BYTES)
    this.#message = this.#at - this.#from
    this.#slab[this.#at] = 0
    this.#at += GRPC_PREFIX_BYTES
  }

  /** Completes the message. `following` = bytes of the message that the caller sends itself right after (a body, uncopied). */
  endMessage(following = 0): void {
    const start = this.#from + this.#message
    this.#slab.writeUInt32BE(this.#at - start - GRPC_PREFIX_BYTES + following, start + 1)
  }

  /** Hands over everything written since the last `take`. */
  take(): Buffer {
    const taken = this.#slab.subarray(this.#from, this.#at)
    this.#from = this.#at
    this.#depth = 0
    return taken
  }

  /** As `take`, given to a stream. */
  sendTo(stream: ServerStream): void {
    const from = this.#from
    this.#from = this.#at
    this.#depth = 0
    if (stream.sendPart === undefined) stream.send(this.#slab.subarray(from, this.#at))
    else stream.sendPart(this.#slab, from, this.#at)
  }

  /** Opens a nested message field. */
  open(field: number): void {
    this.#reserve(11)
    this.#varint((field << 3) | WireType.LEN)
    this.#open[this.#depth++] = this.#at - this.#from
    this.#at++
  }

  /** Closes the innermost open field: one length byte was reserved; longer contents move up by what their length needs. */
  close(): void {
    const lengthAt = this.#open[--this.#depth]! + this.#from
    const length = this.#at - lengthAt - 1
    if (length < 0x80) {
      this.#slab[lengthAt] = length
      return
    }
    const extra = length < 0x4000 ? 1 : length < 0x20_0000 ? 2 : 3
    this.#reserve(extra)
    const at = this.#open[this.#depth]! + this.#from
    this.#slab.copyWithin(at + 1 + extra, at + 1, this.#at)
    const end = this.#at + extra
    this.#at = at
    this.#varint(length)
    this.#at = end
  }

  /** A varint field; zero is written too (callers leave defaults out themselves). */
  uint(field: number, value: number): void {
    this.#reserve(20)
    this.#varint(field << 3)
    this.#varint(value)
  }

  /** A string field. */
  text(field: number, value: string): void {
    const length = asciiLength(value)
    this.#reserve(length + 20)
    this.#varint((field << 3) | WireType.LEN)
    this.#varint(length)
    if (length === value.length && length < 48) {
      // Short ASCII: a loop beats the call into native code.
      for (let i = 0; i < length; i++) this.#slab[this.#at + i] = value.charCodeAt(i)
    } else {
      this.#slab.write(value, this.#at)
    }
    this.#at += length
  }

  /** A bytes field, copied. */
  bytes(field: number, value: Uint8Array, start = 0, end = value.length): void {
    this.#reserve(end - start + 20)
    this.#varint((field << 3) | WireType.LEN)
    this.#varint(end - start)
    this.#slab.set(start === 0 && end === value.length ? value : value.subarray(start, end), this.#at)
    this.#at += end - start
  }

  /** A double field. */
  double(field: number, value: number): void {
    this.#reserve(18)
    this.#varint((field << 3) | WireType.I64)
    this.#slab.writeDoubleLE(value, this.#at)
    this.#at += 8
  }

  /** Bytes that are already encoded. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length)
    this.#slab.set(value, this.#at)
    this.#at += value.length
  }

  /** `value[start, end)`. */
  rawPart(value: Uint8Array, start: number, end: number): void {
    this.#reserve(end - start)
    copy.call(value, this.#slab, this.#at, start, end)
    this.#at += end - start
  }

  /** One raw varint (for the nested lengths of a body that is sent uncopied). */
  varint(value: number): void {
    this.#reserve(10)
    this.#varint(value)
  }

  #varint(value: number): void {
    while (value >= 0x80) {
      this.#slab[this.#at++] = (value % 128) | 0x80
      value = Math.floor(value / 128)
    }
    this.#slab[this.#at++] = value
  }

  /** Makes room for `bytes`; what is pending moves to a new slab when the current one is full. */
  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#slab.length) return
    const pending = this.#at - this.#from
    const slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, 2 * (pending + bytes)))
    this.#slab.copy(slab, 0, this.#from, this.#at)
    this.#slab = slab
    this.#from = 0
    this.#at = pending
  }
}

/** UTF-8 length; for pure ASCII it equals `value.length`. */
function asciiLength(value: string): number {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) >= 0x80) return Buffer.byteLength(value)
  return value.length
}

/** Bytes that a varint of this value takes. */
export function varintBytes(value: number): number {
  let bytes = 1
  while (value >= 0x80) {
    value = Math.floor(value / 128)
    bytes++
  }
  return bytes
}
