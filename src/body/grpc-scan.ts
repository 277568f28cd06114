/**
 * Incremental scanner of gRPC messages, however they are cut: finds the values of a few fields by their numbers, without keeping or decoding the
 * rest (https://protobuf.dev/programming-guides/encoding/). Groups, which proto3 has not, make a message invalid; so does compression.
 *
 * Budget: 1 ns a byte that is skipped or handed on, 5 ns a token id.
 */
import { ScanState } from './scan-state.ts'

/**
 * What a message is searched for, by field number. `bytes`: pieces of a string or bytes field; `number`: a varint; `numbers`: a
 * repeated one, packed or not. Of an embedded message, what it is searched for.
 */
export interface GrpcFields {
  readonly [field: number]: GrpcField | GrpcFields
}

interface GrpcField {
  readonly is: 'bytes' | 'number' | 'numbers'
  /** By which the sink knows it. */
  readonly id: number
}

/** Told of what was found, in the order of the bytes. */
export interface GrpcSink {
  /** A piece of the field's bytes, lent for the call. */
  bytes(id: number, bytes: Uint8Array, start: number, end: number): void
  /** Exact up to 2⁵³. */
  number(id: number, value: number): void
  /** A message is complete. */
  message(): void
}

const Mode = { FRAME: 0, TAG: 1, VARINT: 2, LENGTH: 3, SKIP: 4, BYTES: 5, PACKED: 6, FAILED: 7 } as const
type Mode = (typeof Mode)[keyof typeof Mode]

const FRAME_BYTES = 5
const MAX_VARINT_BYTES = 10
const VARINT = 0
const FIXED64 = 1
const DELIMITED = 2
const FIXED32 = 5

export class GrpcScanner {
  /** The message under way, or the next one, is compressed: it cannot be read. */
  compressed = false
  readonly #sink: GrpcSink
  #fields: GrpcFields = {}
  #mode: Mode = Mode.FRAME
  /** Bytes of the frame's head, or of the varint, so far; the number that they are. */
  #taken = 0
  #value = 0
  #scale = 1
  /** Bytes left of the field under way. */
  #left = 0
  #field: GrpcField | GrpcFields | undefined
  /** Messages that are open, from the outermost: what they are searched for, and bytes left of each. */
  readonly #open: GrpcFields[] = []
  readonly #ends: number[] = []
  /** Offset in the outermost message. */
  #at = 0

  constructor(sink: GrpcSink) {
    this.#sink = sink
  }

  begin(fields: GrpcFields): void {
    this.#fields = fields
    this.compressed = false
    this.#open.length = 0
    this.#ends.length = 0
    this.#next(Mode.FRAME)
  }

  /** DONE: the bytes end with a message. */
  feed(bytes: Uint8Array, start: number, end: number): ScanState {
    let at = start
    while (at < end && this.#mode !== Mode.FAILED) at = this.#step(bytes, at, end)
    if (this.#mode === Mode.FAILED) return ScanState.INVALID
    return this.#mode === Mode.FRAME && this.#taken === 0 ? ScanState.DONE : ScanState.MORE
  }

  /** Takes at least one byte; returns where the next one lies. */
  #step(bytes: Uint8Array, at: number, end: number): number {
    const mode = this.#mode
    if (mode === Mode.FRAME) {
      this.#frame(bytes[at]!)
      return at + 1
    }
    if (mode === Mode.SKIP || mode === Mode.BYTES) {
      const until = Math.min(end, at + this.#left)
      if (mode === Mode.BYTES) this.#sink.bytes((this.#field as GrpcField).id, bytes, at, until)
      this.#left -= until - at
      this.#at += until - at
      if (this.#left === 0) this.#closeMessages()
      return until
    }
    this.#at++
    if (this.#varint(bytes[at]!)) {
      if (mode === Mode.TAG) this.#tag(this.#value)
      else if (mode === Mode.LENGTH) this.#length(this.#value)
      else this.#number(mode)
    } else if (this.#at >= this.#ends.at(-1)! || (mode === Mode.PACKED && this.#at >= this.#left)) this.#fail()
    return at + 1
  }

  #frame(byte: number): void {
    if (this.#taken === 0) {
      if (byte !== 0) {
        this.compressed = byte === 1
        return this.#fail()
      }
    } else this.#value = this.#value * 256 + byte
    if (++this.#taken < FRAME_BYTES) return
    this.#open.push(this.#fields)
    this.#ends.push(this.#value)
    this.#at = 0
    this.#closeMessages()
  }

  /** True: it is complete. */
  #varint(byte: number): boolean {
    this.#value += (byte & 0x7f) * this.#scale
    this.#scale *= 128
    if (byte < 0x80) return true
    if (++this.#taken >= MAX_VARINT_BYTES) this.#fail()
    return false
  }

  #tag(tag: number): void {
    const number = Math.floor(tag / 8)
    const wire = tag & 7
    if (number === 0) return this.#fail()
    this.#field = this.#open.at(-1)![number]
    switch (wire) {
      case VARINT:
        return this.#next(Mode.VARINT)
      case DELIMITED:
        return this.#next(Mode.LENGTH)
      case FIXED64:
        return this.#take(Mode.SKIP, 8)
      case FIXED32:
        return this.#take(Mode.SKIP, 4)
      default:
        return this.#fail()
    }
  }

  #length(length: number): void {
    const field = this.#field
    if (field === undefined) return this.#take(Mode.SKIP, length)
    if (isField(field)) {
      const mode = field.is === 'bytes' ? Mode.BYTES : field.is === 'numbers' ? Mode.PACKED : Mode.SKIP
      return this.#take(mode, length)
    }
    if (this.#at + length > this.#ends.at(-1)!) return this.#fail()
    this.#open.push(field)
    this.#ends.push(this.#at + length)
    this.#closeMessages()
  }

  /** The field has so many bytes, to be dealt with in this mode. */
  #take(mode: Mode, length: number): void {
    if (this.#at + length > this.#ends.at(-1)!) return this.#fail()
    if (length === 0) return this.#closeMessages()
    this.#next(mode)
    // Of packed numbers: where they end.
    this.#left = mode === Mode.PACKED ? this.#at + length : length
  }

  #number(mode: Mode): void {
    const field = this.#field
    if (field !== undefined && isField(field) && field.is !== 'bytes') this.#sink.number(field.id, this.#value)
    if (mode === Mode.PACKED && this.#at < this.#left) this.#next(Mode.PACKED)
    else this.#closeMessages()
  }

  /** A field is over, and with it maybe messages. */
  #closeMessages(): void {
    while (this.#ends.length > 0 && this.#ends.at(-1) === this.#at) {
      this.#ends.pop()
      this.#open.pop()
    }
    if (this.#ends.length > 0) return this.#next(Mode.TAG)
    this.#next(Mode.FRAME)
    this.#sink.message()
  }

  #next(mode: Mode): void {
    this.#mode = mode
    this.#taken = 0
    this.#value = 0
    this.#scale = 1
  }

  #fail(): void {
    this.#mode = Mode.FAILED
  }
}

function isField(field: GrpcField | GrpcFields): field is GrpcField {
  return 'is' in field
}
