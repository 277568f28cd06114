/**
 * Reads MessagePack value by value, without building trees: of an event's thousands of token ids and hashes none becomes an object or a
 * BigInt. What a length promises is checked against what is there, so that a bad peer can't make us allocate.
 */
import { Buffer } from 'node:buffer'

export class MsgpackError extends Error {
  readonly code = 'msgpack'
  constructor(message: string) {
    super(message)
    this.name = 'MsgpackError'
  }
}

export const MsgpackKind = {
  NIL: 0,
  BOOLEAN: 1,
  INTEGER: 2,
  FLOAT: 3,
  TEXT: 4,
  BYTES: 5,
  ARRAY: 6,
  MAP: 7,
  EXTENSION: 8,
}

const EMPTY = Buffer.alloc(0)

export class MsgpackReader {
  /** The words of the last `hash`. */
  low = 0
  high = 0
  #bytes: Buffer = EMPTY
  #at = 0
  #end = 0

  begin(bytes: Buffer): void {
    this.#bytes = bytes
    this.#at = 0
    this.#end = bytes.length
  }

  /** Where the next value starts. */
  get at(): number {
    return this.#at
  }

  /** Goes to a place where a value starts. */
  goTo(at: number): void {
    this.#at = at
  }

  /** What lies between `from` and the next value, as text of one character a byte. */
  raw(from: number): string {
    return this.#bytes.toString('latin1', from, this.#at)
  }

  get atEnd(): boolean {
    return this.#at === this.#end
  }

  /** A `MsgpackKind` of the next value. @throws MsgpackError at the end */
  kind(): number {
    const head = this.#peek()
    if (head < 0x80 || head >= 0xe0) return MsgpackKind.INTEGER
    if (head < 0x90) return MsgpackKind.MAP
    if (head < 0xa0) return MsgpackKind.ARRAY
    if (head < 0xc0) return MsgpackKind.TEXT
    return KINDS[head - 0xc0]!
  }

  /** Elements of the array that is next, which follow. @throws MsgpackError */
  array(): number {
    const head = this.#next()
    let count = -1
    if (head >= 0x90 && head < 0xa0) count = head & 0x0f
    else if (head === 0xdc) count = this.#uint(2)
    else if (head === 0xdd) count = this.#uint(4)
    if (count < 0) throw new MsgpackError('not an array')
    if (count > this.#end - this.#at) throw new MsgpackError('an array is cut off')
    return count
  }

  /** Entries of the map that is next, as key and value in turn. @throws MsgpackError */
  map(): number {
    const head = this.#next()
    let count = -1
    if (head >= 0x80 && head < 0x90) count = head & 0x0f
    else if (head === 0xde) count = this.#uint(2)
    else if (head === 0xdf) count = this.#uint(4)
    if (count < 0) throw new MsgpackError('not a map')
    if (2 * count > this.#end - this.#at) throw new MsgpackError('a map is cut off')
    return count
  }

  /** Whether nil is next; it is read then. */
  nil(): boolean {
    if (this.#peek() !== 0xc0) return false
    this.#at++
    return true
  }

  /** @throws MsgpackError for what is no integer that a number holds exactly */
  integer(): number {
    const head = this.#next()
    if (head < 0x80) return head
    if (head >= 0xe0) return head - 0x100
    if (head >= 0xcc && head <= 0xcf) return exact(this.#uint(1 << (head - 0xcc)))
    if (head >= 0xd0 && head <= 0xd3) {
      const bytes = 1 << (head - 0xd0)
      const at = this.#advance(bytes)
      if (bytes === 8) return exact(this.#bytes.readInt32BE(at) * 2 ** 32 + this.#bytes.readUInt32BE(at + 4))
      return this.#bytes.readIntBE(at, bytes)
    }
    throw new MsgpackError('not an integer')
  }

  /** @throws MsgpackError */
  text(): string {
    const start = this.#span(false)
    return this.#bytes.toString('utf8', start, this.#at)
  }

  /** @throws MsgpackError */
  bytes(): Buffer {
    const start = this.#span(true)
    return this.#bytes.subarray(start, this.#at)
  }

  /**
   * A block's hash: an integer of up to 64 bits with or without sign, or bytes, of which the last eight count. Goes to `low` and `high`.
   * @throws MsgpackError
   */
  hash(): void {
    const head = this.#peek()
    if (head === 0xcf || head === 0xd3) {
      this.#at++
      const at = this.#advance(8)
      this.high = this.#bytes.readInt32BE(at)
      this.low = this.#bytes.readInt32BE(at + 4)
    } else if (this.kind() === MsgpackKind.BYTES) {
      const bytes = this.bytes()
      if (bytes.length === 0) throw new MsgpackError('an empty hash')
      this.low = this.high = 0
      for (let i = Math.max(0, bytes.length - 8); i < bytes.length; i++) {
        this.high = (this.high << 8) | (this.low >>> 24)
        this.low = (this.low << 8) | bytes[i]!
      }
    } else {
      const value = this.integer()
      this.low = value | 0
      this.high = value < 0 ? -1 : 0
    }
  }

  /** Leaves out one value with all that is in it. @throws MsgpackError */
  skip(): void {
    for (let left = 1; left > 0; left--) {
      switch (this.kind()) {
        case MsgpackKind.ARRAY:
          left += this.array()
          break
        case MsgpackKind.MAP:
          left += 2 * this.map()
          break
        case MsgpackKind.TEXT:
          this.#span(false)
          break
        case MsgpackKind.BYTES:
          this.#span(true)
          break
        default:
          this.#skipPlain(this.#next())
      }
    }
  }

  #skipPlain(head: number): void {
    if (head === 0xc1) throw new MsgpackError('a byte that MessagePack does not use')
    if (head === 0xca) this.#advance(4)
    else if (head === 0xcb) this.#advance(8)
    else if (head >= 0xcc && head <= 0xcf) this.#advance(1 << (head - 0xcc))
    else if (head >= 0xd0 && head <= 0xd3) this.#advance(1 << (head - 0xd0))
    else if (head >= 0xd4 && head <= 0xd8) this.#advance(1 + (1 << (head - 0xd4)))
    else if (head >= 0xc7 && head <= 0xc9) this.#advance(this.#uint(1 << (head - 0xc7)) + 1)
  }

  /** Goes over a text's or bytes' content and returns where it starts. */
  #span(binary: boolean): number {
    const head = this.#next()
    let length = -1
    if (!binary && head >= 0xa0 && head < 0xc0) length = head & 0x1f
    else if (!binary && head >= 0xd9 && head <= 0xdb) length = this.#uint(1 << (head - 0xd9))
    else if (binary && head >= 0xc4 && head <= 0xc6) length = this.#uint(1 << (head - 0xc4))
    if (length < 0) throw new MsgpackError(binary ? 'not bytes' : 'not a text')
    return this.#advance(length)
  }

  #peek(): number {
    if (this.#at >= this.#end) throw new MsgpackError('cut off')
    return this.#bytes[this.#at]!
  }

  #next(): number {
    const head = this.#peek()
    this.#at++
    return head
  }

  #advance(bytes: number): number {
    const at = this.#at
    if (bytes > this.#end - at) throw new MsgpackError('cut off')
    this.#at = at + bytes
    return at
  }

  #uint(bytes: number): number {
    const at = this.#advance(bytes)
    if (bytes === 8) return this.#bytes.readUInt32BE(at) * 2 ** 32 + this.#bytes.readUInt32BE(at + 4)
    return this.#bytes.readUIntBE(at, bytes)
  }
}

function exact(value: number): number {
  if (!Number.isSafeInteger(value)) throw new MsgpackError('an integer beyond 2⁵³')
  return value
}

/** Of the heads 0xc0 … 0xdf. */
const KINDS: readonly number[] = Array.from({ length: 32 }, (_, i) => {
  const head = 0xc0 + i
  if (head === 0xc0) return MsgpackKind.NIL
  if (head === 0xc2 || head === 0xc3) return MsgpackKind.BOOLEAN
  if (head >= 0xc4 && head <= 0xc6) return MsgpackKind.BYTES
  if (head === 0xca || head === 0xcb) return MsgpackKind.FLOAT
  if (head >= 0xcc && head <= 0xd3) return MsgpackKind.INTEGER
  if (head >= 0xd9 && head <= 0xdb) return MsgpackKind.TEXT
  if (head === 0xdc || head === 0xdd) return MsgpackKind.ARRAY
  if (head === 0xde || head === 0xdf) return MsgpackKind.MAP
  return MsgpackKind.EXTENSION
})
