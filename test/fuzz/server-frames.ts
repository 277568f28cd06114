/** What a client may expect of a server's frames, whatever it sent itself (RFC 9113). */
import { PlainDecoder } from '../../src/grpc/h2/hpack/plain-hpack.testing.ts'
import { END_HEADERS, END_STREAM, FrameType } from '../../src/grpc/suite/raw-http2-client.ts'
import { Finding } from './target.ts'

const HEAD = 9
const INITIAL_WINDOW = 65_535
const MAX_WINDOW = 2 ** 31 - 1
const FRAME_BYTES = 16_384
const ACK = 1

/** A stream as the client sees it. */
class SeenStream {
  /** What the server may still send. */
  window: number
  /** The client has reset it. */
  cancelled = false
  status: string | undefined
  grpcStatus: string | undefined
  readonly data: Buffer[] = []
  finished = false
  resetCode: number | undefined

  constructor(window: number) {
    this.window = window
  }
}

/**
 * Reads both directions of a connection. Bytes of the client are fed before the server gets them, so that within one chunk of them everything
 * is allowed that any order of working through it allows.
 */
export class ServerFrames {
  readonly streams = new Map<number, SeenStream>()
  /** Code of the last GOAWAY. */
  goaway: number | undefined
  #client: Buffer = Buffer.alloc(0)
  #server: Buffer = Buffer.alloc(0)
  #window = INITIAL_WINDOW
  #initial = INITIAL_WINDOW
  /** The largest one within the chunk. */
  #initialMost = INITIAL_WINDOW
  #frameMost = FRAME_BYTES
  #lastStream = 0
  #first = true
  #unanswered: Buffer[] = []
  #settingsUnanswered = 0
  /** Taken from windows when the chunk is over. */
  #reductions: (() => void)[] = []
  readonly #decoder = new PlainDecoder()
  #block: { stream: number; flags: number; bytes: Buffer } | undefined

  /** Before a chunk goes to the server. `skip`: bytes that are no frames, the preface. */
  clientSends(chunk: Buffer, skip = 0): void {
    for (const reduce of this.#reductions.splice(0)) reduce()
    this.#initialMost = this.#initial
    this.#client = Buffer.concat([this.#client, chunk.subarray(skip)])
    let at = 0
    while (this.#client.length - at >= HEAD) {
      const length = this.#client.readUIntBE(at, 3)
      if (this.#client.length - at < HEAD + length) break
      const type = this.#client[at + 3]!
      const stream = this.#client.readUInt32BE(at + 5) & MAX_WINDOW
      this.#clientFrame(type, this.#client[at + 4]!, stream, this.#client.subarray(at + HEAD, at + HEAD + length))
      at += HEAD + length
    }
    this.#client = Buffer.from(this.#client.subarray(at))
  }

  #clientFrame(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === FrameType.HEADERS && stream > this.#lastStream) {
      this.#lastStream = stream
      this.streams.set(stream, new SeenStream(this.#initialMost))
    } else if (type === FrameType.RST_STREAM && payload.length === 4) {
      const seen = this.streams.get(stream)
      if (seen !== undefined) this.#reductions.push(() => (seen.cancelled = true))
    } else if (type === FrameType.WINDOW_UPDATE && payload.length === 4) {
      const increment = payload.readUInt32BE(0) & MAX_WINDOW
      const seen = this.streams.get(stream)
      if (stream === 0) this.#window += increment
      else if (seen !== undefined) seen.window += increment
    } else if (type === FrameType.PING && payload.length === 8 && (flags & ACK) === 0)
      this.#unanswered.push(Buffer.from(payload))
    else if (type === FrameType.SETTINGS && (flags & ACK) === 0 && payload.length % 6 === 0)
      this.#clientSettings(payload)
  }

  #clientSettings(payload: Buffer): void {
    this.#settingsUnanswered++
    const before = this.#initial
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2)
      if (payload.readUInt16BE(at) === 4 && value <= MAX_WINDOW) this.#initial = value
      if (payload.readUInt16BE(at) === 5 && value < 2 ** 24) this.#frameMost = Math.max(this.#frameMost, value)
    }
    const change = this.#initial - before
    this.#initialMost = Math.max(this.#initialMost, this.#initial)
    const streams = [...this.streams.values()]
    const apply = (): void => {
      for (const stream of streams) stream.window += change
    }
    if (change > 0) apply()
    else this.#reductions.push(apply)
  }

  /** What the server has written. */
  serverSent(bytes: Buffer): void {
    this.#server = this.#server.length === 0 ? bytes : Buffer.concat([this.#server, bytes])
    let at = 0
    while (this.#server.length - at >= HEAD) {
      const length = this.#server.readUIntBE(at, 3)
      if (length > this.#frameMost) throw new Finding(`a frame of ${length} bytes`)
      if (this.#server.length - at < HEAD + length) break
      const flags = this.#server[at + 4]!
      this.#serverFrame(
        this.#server[at + 3]!,
        flags,
        this.#server.readUInt32BE(at + 5),
        this.#server.subarray(at + HEAD, at + HEAD + length),
      )
      at += HEAD + length
    }
    this.#server = Buffer.from(this.#server.subarray(at))
  }

  /** True when half a frame has come. */
  get cutOff(): boolean {
    return this.#server.length > 0
  }

  #serverFrame(type: number, flags: number, stream: number, payload: Buffer): void {
    const what = `type ${type} flags ${flags} stream ${stream} ${payload.subarray(0, 20).toString('hex')}`
    if (this.goaway !== undefined && this.goaway !== 0) throw new Finding(`a frame after GOAWAY: ${what}`)
    if (this.#first !== (type === FrameType.SETTINGS && (flags & ACK) === 0))
      throw new Finding(`SETTINGS come first and once: ${what}`)
    this.#first = false
    if (this.#block !== undefined && type !== FrameType.CONTINUATION)
      throw new Finding(`within a header block: ${what}`)
    switch (type) {
      case FrameType.SETTINGS:
        if ((flags & ACK) !== 0 && --this.#settingsUnanswered < 0) throw new Finding('SETTINGS ACK of nothing')
        return
      case FrameType.PING:
        if ((flags & ACK) === 0) return
        if (this.#unanswered.shift()?.equals(payload) !== true) throw new Finding(`PING ACK of something else: ${what}`)
        return
      case FrameType.GOAWAY:
        this.goaway = payload.readUInt32BE(4)
        return
      case FrameType.WINDOW_UPDATE:
        if (payload.readUInt32BE(0) === 0 || payload.readUInt32BE(0) > MAX_WINDOW)
          throw new Finding(`WINDOW_UPDATE: ${what}`)
        if (stream !== 0) this.#stream(stream, what)
        return
      case FrameType.RST_STREAM:
        if (stream > this.#lastStream && !this.streams.has(stream)) return
        if (this.streams.has(stream)) this.#stream(stream, what).resetCode = payload.readUInt32BE(0)
        return
      case FrameType.HEADERS:
        return this.#headers(stream, flags, payload, what)
      case FrameType.DATA:
        return this.#data(this.#sending(stream, what), flags, payload, what)
      default:
        throw new Finding(`servers do not send ${what}`)
    }
  }

  #headers(id: number, flags: number, payload: Buffer, what: string): void {
    const stream = this.#sending(id, what)
    if ((flags & END_HEADERS) === 0) throw new Finding(`a block in parts: ${what}`)
    const fields = Object.fromEntries(this.#decoder.decode(payload)) as Record<string, string | undefined>
    if ((stream.status === undefined) !== (fields[':status'] !== undefined))
      throw new Finding(`:status is first and once: ${what}`)
    stream.status ??= fields[':status']
    stream.grpcStatus = fields['grpc-status']
    if ((flags & END_STREAM) !== 0) stream.finished = true
  }

  #data(stream: SeenStream, flags: number, payload: Buffer, what: string): void {
    if (stream.status === undefined) throw new Finding(`DATA before HEADERS: ${what}`)
    stream.window -= payload.length
    this.#window -= payload.length
    // A window that is negative already stays shut.
    if (payload.length > 0 && (stream.window < 0 || this.#window < 0))
      throw new Finding(`a window is exceeded by ${payload.length} bytes: ${what}`)
    stream.data.push(Buffer.from(payload))
    if ((flags & END_STREAM) !== 0) stream.finished = true
  }

  /** A stream on which the server may still say something. */
  #sending(id: number, what: string): SeenStream {
    const stream = this.#stream(id, what)
    if (stream.finished || stream.cancelled || stream.resetCode !== undefined)
      throw new Finding(
        `on a stream that is over (finished ${stream.finished}, cancelled ${stream.cancelled}, reset ${stream.resetCode}): ${what}`,
      )
    return stream
  }

  #stream(id: number, what: string): SeenStream {
    const stream = this.streams.get(id)
    if (stream === undefined) throw new Finding(`on a stream that nobody opened: ${what}`)
    return stream
  }
}
