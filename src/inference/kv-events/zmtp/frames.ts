/** Frames of ZMTP 3 after the greeting: a byte of flags, a size of one or eight bytes, the body. */
import { Buffer } from 'node:buffer'
import { ZmtpError } from './greeting.ts'

const MORE = 1
const LONG = 2
const COMMAND = 4

export interface FrameSink {
  /** `body` belongs to the sink. */
  command(body: Buffer): void
  message(frames: Buffer[]): void
}

export interface FrameLimits {
  /** Of a message with all its frames. */
  readonly maxMessageBytes: number
  readonly maxFrames: number
}

/** Puts frames together from the pieces of a stream. */
export class FrameReader {
  readonly #sink: FrameSink
  readonly #limits: FrameLimits
  /** Bytes of an incomplete frame. */
  #pieces: Buffer[] = []
  #length = 0
  /** Bytes that must be there before it is worth looking again. */
  #needed = 2
  #frames: Buffer[] = []
  #messageBytes = 0
  #stopped = false
  #held = false

  constructor(sink: FrameSink, limits: FrameLimits) {
    this.#sink = sink
    this.#limits = limits
  }

  /** Keeps `piece`, which the caller must not change any more. @throws ZmtpError; nothing more can be read then */
  feed(piece: Buffer): void {
    this.#pieces.push(piece)
    this.#length += piece.length
    this.#read()
  }

  #read(): void {
    if (this.#held || this.#length < this.#needed) return
    const bytes = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.#length)
    let at = 0
    while (!this.#stopped && !this.#held) {
      const size = this.#frame(bytes, at)
      if (size === 0) break
      at += size
    }
    const rest = bytes.subarray(at)
    this.#pieces = rest.length === 0 ? [] : [rest]
    this.#length = rest.length
  }

  /** The sink wants no more for now. */
  hold(): void {
    this.#held = true
  }

  /** Goes on with what is there. @throws as `feed` */
  release(): void {
    this.#held = false
    this.#read()
  }

  /** The sink wants no more. */
  stop(): void {
    this.#stopped = true
  }

  /** Reads the frame at `at` and returns its size; 0: not all of it is there. */
  #frame(bytes: Buffer, at: number): number {
    const there = bytes.length - at
    this.#needed = 2
    if (there < 2) return 0
    const flags = bytes[at]!
    if ((flags & ~(MORE | LONG | COMMAND)) !== 0 || (flags & (MORE | COMMAND)) === (MORE | COMMAND))
      throw new ZmtpError(`bad frame flags 0x${flags.toString(16)}`)
    let size = bytes[at + 1]!
    let head = 2
    if ((flags & LONG) !== 0) {
      this.#needed = head = 9
      if (there < head) return 0
      const high = bytes.readUInt32BE(at + 1)
      size = high === 0 ? bytes.readUInt32BE(at + 5) : Number.POSITIVE_INFINITY
    }
    if (this.#messageBytes + size > this.#limits.maxMessageBytes)
      throw new ZmtpError(`a message is larger than ${this.#limits.maxMessageBytes} bytes`)
    this.#needed = head + size
    if (there < this.#needed) return 0
    const end = at + head + size
    const body = bytes.subarray(at + head, end)
    this.#needed = 2
    if ((flags & COMMAND) !== 0) {
      this.#sink.command(body)
    } else {
      this.#messageBytes += size
      this.#frames.push(body)
      if (this.#frames.length > this.#limits.maxFrames)
        throw new ZmtpError(`a message has more than ${this.#limits.maxFrames} frames`)
      if ((flags & MORE) === 0) {
        const frames = this.#frames
        this.#frames = []
        this.#messageBytes = 0
        this.#sink.message(frames)
      }
    }
    return end - at
  }
}

export function messageBytes(frames: readonly Uint8Array[]): Buffer {
  return Buffer.concat(frames.flatMap((body, i) => [head(i < frames.length - 1 ? MORE : 0, body.length), body]))
}

/** `name` and what follows it. */
export function commandBytes(name: string, data: Uint8Array = new Uint8Array()): Buffer {
  const body = Buffer.concat([Buffer.from([name.length]), Buffer.from(name, 'latin1'), data])
  return Buffer.concat([head(COMMAND, body.length), body])
}

/** A command's name and the rest of its body. @throws ZmtpError */
export function readCommand(body: Buffer): { readonly name: string; readonly data: Buffer } {
  const end = 1 + (body[0] ?? 0)
  if (body.length < 2 || end > body.length) throw new ZmtpError('a command without a name')
  return { name: body.toString('latin1', 1, end), data: body.subarray(end) }
}

/** The properties of a READY command: name → value. */
export function propertyBytes(properties: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(properties).flatMap(([name, value]) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(value.length)
      return [Buffer.from([name.length]), Buffer.from(name, 'latin1'), length, Buffer.from(value, 'latin1')]
    }),
  )
}

/** Names in lower case: they are compared so. @throws ZmtpError */
export function readProperties(data: Buffer): ReadonlyMap<string, string> {
  const properties = new Map<string, string>()
  let at = 0
  while (at < data.length) {
    const nameEnd = at + 1 + data[at]!
    if (nameEnd + 4 > data.length) throw new ZmtpError('a property is cut off')
    const end = nameEnd + 4 + data.readUInt32BE(nameEnd)
    if (end > data.length) throw new ZmtpError('a property is cut off')
    properties.set(data.toString('latin1', at + 1, nameEnd).toLowerCase(), data.toString('latin1', nameEnd + 4, end))
    at = end
  }
  return properties
}

function head(flags: number, size: number): Buffer {
  if (size < 256) return Buffer.from([flags, size])
  const bytes = Buffer.alloc(9)
  bytes[0] = flags | LONG
  bytes.writeUInt32BE(size, 5)
  return bytes
}
