import { ErrorCode, FRAME_HEAD_BYTES, FrameType, Flag, MAX_FRAME_BYTES, PREFACE, readUint31 } from './frame.ts'

/** What a reader calls, in the order of the bytes. After `broken`, and once `stop` was called, nothing more comes. */
export interface FrameSink {
  /** A whole frame that is not DATA: its payload is `bytes[start, end)`, lent for the call. */
  frame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): void
  /** A DATA frame begins. `length`: all of its payload, padding included, which is what flow control counts. */
  dataBegins(stream: number, flags: number, length: number): void
  /** Data of the frame under way, without padding; lent for the call. At least one byte. */
  dataPart(bytes: Buffer, start: number, end: number): void
  dataEnds(): void
  /** The bytes are no HTTP/2: the connection must end. */
  broken(code: ErrorCode, why: string): void
}

/**
 * Cuts the bytes of a client into frames. Payloads of DATA pass through in the pieces in which they come; every other frame is gathered
 * first where it comes in pieces (16 KiB at most).
 */
export class FrameReader {
  readonly #sink: FrameSink
  #prefaceSeen = 0
  readonly #head = Buffer.alloc(FRAME_HEAD_BYTES)
  #headSeen = 0
  #type = 0
  #flags = 0
  #stream = 0
  /** Bytes of the payload still to come. */
  #left = 0
  /** Bytes of padding at the end of the DATA frame under way; −1: its length is the next byte. */
  #padding = 0
  #gathered: Buffer | undefined
  #stopped = false
  /** The first frame must be SETTINGS (RFC 9113 §3.4). */
  #first = true

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** The rest of the bytes means nothing any more. */
  stop(): void {
    this.#stopped = true
  }

  /** True once the client's preface is complete. */
  get greeted(): boolean {
    return this.#prefaceSeen === PREFACE.length
  }

  /** `chunk` is lent: nothing of it is kept. */
  read(chunk: Buffer): void {
    const size = chunk.length
    let at = this.#prefaceSeen < PREFACE.length ? this.#readPreface(chunk) : 0
    while (at < size && !this.#stopped) {
      if (this.#headSeen < FRAME_HEAD_BYTES) {
        at = this.#readHead(chunk, at)
        continue
      }
      at = this.#type === FrameType.DATA ? this.#readData(chunk, at) : this.#readOther(chunk, at)
    }
  }

  #readPreface(chunk: Buffer): number {
    let at = 0
    while (at < chunk.length && this.#prefaceSeen < PREFACE.length) {
      if (chunk[at] !== PREFACE[this.#prefaceSeen]) {
        this.#break(ErrorCode.PROTOCOL_ERROR, 'no HTTP/2 preface')
        break
      }
      at++
      this.#prefaceSeen++
    }
    return at
  }

  #readHead(chunk: Buffer, start: number): number {
    let at = start
    if (this.#headSeen === 0 && chunk.length - at >= FRAME_HEAD_BYTES) {
      this.#headSeen = FRAME_HEAD_BYTES
      this.#begin(chunk, at)
      return at + FRAME_HEAD_BYTES
    }
    while (this.#headSeen < FRAME_HEAD_BYTES && at < chunk.length) this.#head[this.#headSeen++] = chunk[at++]!
    if (this.#headSeen === FRAME_HEAD_BYTES) this.#begin(this.#head, 0)
    return at
  }

  /** Ends an empty frame at once; otherwise the payload follows. */
  #begin(bytes: Buffer, at: number): void {
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!
    this.#type = bytes[at + 3]!
    this.#flags = bytes[at + 4]!
    this.#stream = readUint31(bytes, at + 5)
    this.#left = length
    if (length > MAX_FRAME_BYTES) return this.#break(ErrorCode.FRAME_SIZE_ERROR, 'frame is too long')
    if (this.#first) {
      this.#first = false
      if (this.#type !== FrameType.SETTINGS || (this.#flags & Flag.ACK) !== 0)
        return this.#break(ErrorCode.PROTOCOL_ERROR, 'the first frame is not SETTINGS')
    }
    if (this.#type === FrameType.DATA) this.#beginData(length)
    else if (length === 0) this.#end(bytes, 0, 0)
  }

  #beginData(length: number): void {
    const padded = (this.#flags & Flag.PADDED) !== 0
    if (padded && length === 0) return this.#break(ErrorCode.FRAME_SIZE_ERROR, 'no pad length')
    this.#padding = padded ? -1 : 0
    this.#sink.dataBegins(this.#stream, this.#flags, length)
    if (length === 0) this.#endData()
  }

  #readData(chunk: Buffer, start: number): number {
    let at = start
    if (this.#padding < 0) {
      this.#padding = chunk[at]!
      at++
      this.#left--
      if (this.#padding > this.#left) {
        this.#break(ErrorCode.PROTOCOL_ERROR, 'padding is longer than its frame')
        return at
      }
    }
    const data = Math.min(this.#left - this.#padding, chunk.length - at)
    if (data > 0) {
      this.#left -= data
      at += data
      this.#sink.dataPart(chunk, at - data, at)
    }
    if (this.#left <= this.#padding) {
      const padding = Math.min(this.#left, chunk.length - at)
      at += padding
      this.#left -= padding
      this.#padding = this.#left
    }
    if (this.#left === 0) this.#endData()
    return at
  }

  #endData(): void {
    this.#headSeen = 0
    if (!this.#stopped) this.#sink.dataEnds()
  }

  #readOther(chunk: Buffer, at: number): number {
    const left = this.#left
    if (this.#gathered === undefined) {
      if (chunk.length - at >= left) {
        this.#end(chunk, at, at + left)
        return at + left
      }
      this.#gathered = Buffer.allocUnsafe(left)
    }
    const gathered = this.#gathered
    const taken = chunk.copy(gathered, gathered.length - left, at, at + left)
    this.#left -= taken
    if (this.#left === 0) {
      this.#gathered = undefined
      this.#end(gathered, 0, gathered.length)
    }
    return at + taken
  }

  #end(bytes: Buffer, start: number, end: number): void {
    this.#headSeen = 0
    this.#left = 0
    this.#sink.frame(this.#type, this.#flags, this.#stream, bytes, start, end)
  }

  #break(code: ErrorCode, why: string): void {
    this.#stopped = true
    this.#sink.broken(code, why)
  }
}
