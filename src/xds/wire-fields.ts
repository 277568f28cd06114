import { WireReader, WireType } from '../extproc/wire.ts'

/** Bytes that are no protobuf message. */
export class MalformedMessageError extends Error {
  readonly code = 'SIGNALBOX_MALFORMED_MESSAGE'

  constructor() {
    super('a field is cut off, or of no known wire type')
  }
}

const wire = new WireReader()

/** The fields of the message `bytes[at, until)`, one after the other. A length-delimited one's content is `bytes[start, end)`, a varint's is `value`. */
export class WireFields {
  readonly #bytes: Uint8Array
  #at: number
  readonly #until: number
  #tag = 0
  start = 0
  end = 0
  value = 0

  constructor(bytes: Uint8Array, at: number, until: number) {
    this.#bytes = bytes
    this.#at = at
    this.#until = until
  }

  /** Goes on to the next field; false: there is none. @throws MalformedMessageError */
  next(): boolean {
    const until = this.#until
    if (this.#at >= until) return false
    const bytes = this.#bytes
    let at = wire.varint(bytes, this.#at, until)
    if (at < 0) throw new MalformedMessageError()
    this.#tag = wire.value
    if ((this.#tag & 7) === WireType.LEN) {
      at = wire.varint(bytes, at, until)
      if (at < 0 || wire.value > until - at) throw new MalformedMessageError()
      this.start = at
      this.end = at + wire.value
      this.#at = this.end
      return true
    }
    at = wire.skip(bytes, this.#tag, at, until)
    if (at < 0) throw new MalformedMessageError()
    this.value = wire.value
    this.#at = at
    return true
  }

  /** A length-delimited field of that number. */
  is(field: number): boolean {
    return this.#tag === field * 8 + WireType.LEN
  }

  /** A varint field of that number. */
  isVarint(field: number): boolean {
    return this.#tag === field * 8
  }
}
