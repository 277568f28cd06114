import { constants, createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2'
import type { CodecOptions, Downstream, DownstreamEvents, RequestHandler } from './downstream.ts'
import { HeaderList } from './header-list.ts'
import { Flow } from './message-sink.ts'
import { addressText } from './socket-address.ts'
import { UNBOUNDED_SESSION_MEMORY } from './session-memory.ts'

const EMPTY = new Uint8Array()

/** A server for connections that someone else accepts (`emit('connection')`). */
export function http2Server(options: CodecOptions, handler: RequestHandler): Http2Server {
  const server = createServer({
    maxSessionMemory: UNBOUNDED_SESSION_MEMORY,
    settings: {
      initialWindowSize: options.streamWindow,
      maxConcurrentStreams: options.maxConcurrentStreams,
      enableConnectProtocol: false,
    },
    maxHeaderListPairs: 1000,
    // Clients of tests and benchmarks cancel many streams; the socket limits them.
    streamResetBurst: 10_000,
    streamResetRate: 1000,
  })
  server.on('session', session => session.setLocalWindowSize(options.connectionWindow))
  server.on('stream', (stream, _headers, flags, raw) => {
    accept(stream, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0, raw, handler)
  })
  return server
}

function accept(stream: ServerHttp2Stream, end: boolean, raw: readonly string[], handler: RequestHandler): void {
  const headers = HeaderList.fromFlat(raw)
  const host = headers.get('host')
  headers.remove('host')
  if (!headers.has(':authority')) headers.add(':authority', host ?? '')
  const downstream = new Http2Downstream(stream, headers.get(':scheme') === 'https')
  downstream.events = handler(downstream, headers, end)
  downstream.listen(end)
}

class Http2Downstream implements Downstream {
  readonly protocol = 'HTTP/2'
  readonly remoteAddress: string
  readonly localAddress: string
  readonly secure: boolean
  readonly flow: Flow
  events: DownstreamEvents | undefined
  readonly #stream: ServerHttp2Stream
  #trailersOut: HeaderList | undefined
  #trailersIn: HeaderList | undefined
  #requestEnded = false
  #responseEnded = false

  constructor(stream: ServerHttp2Stream, secure: boolean) {
    this.#stream = stream
    this.secure = secure
    const socket = stream.session?.socket
    this.remoteAddress = addressText(socket?.remoteAddress, socket?.remotePort)
    this.localAddress = addressText(socket?.localAddress, socket?.localPort)
    this.flow = new Flow(open => {
      if (open) stream.resume()
      else stream.pause()
    })
  }

  get pendingBytes(): number {
    return this.#stream.writableLength
  }

  listen(end: boolean): void {
    const stream = this.#stream
    stream.on('wantTrailers', () => {
      stream.sendTrailers(this.#trailersOut?.record() ?? {})
      setImmediate(() => this.#ended())
    })
    stream.on('drain', () => this.events?.drained())
    stream.on('error', () => this.#aborted())
    stream.on('close', () => this.#aborted())
    stream.on('trailers', (_headers, _flags, raw) => {
      this.#trailersIn = HeaderList.fromFlat(raw)
    })
    if (end) {
      this.#requestEnded = true
      stream.resume()
      return
    }
    stream.on('data', (bytes: Buffer) => this.events?.data(bytes, false))
    stream.once('end', () => {
      // A reset ends the readable side as well.
      if (stream.aborted || (stream.rstCode ?? 0) !== 0) return
      this.#requestEnded = true
      if (this.#trailersIn !== undefined) this.events?.trailers(this.#trailersIn)
      else this.events?.data(EMPTY, true)
    })
    if (!this.flow.open) stream.pause()
  }

  headers(headers: HeaderList, end: boolean): void {
    const stream = this.#stream
    if (stream.headersSent || stream.destroyed || stream.closed) return
    try {
      stream.respond(headers.record(), { endStream: end, waitForTrailers: !end })
    } catch {
      this.reset()
      return
    }
    if (end) this.#ended()
  }

  data(bytes: Uint8Array, end: boolean): void {
    const stream = this.#stream
    if (!stream.writable) return
    if (bytes.length > 0) stream.write(bytes)
    if (end) {
      this.#responseEnded = true
      stream.end()
    }
  }

  trailers(trailers: HeaderList): void {
    this.#trailersOut = trailers
    this.data(EMPTY, true)
  }

  /** The rest of an upload that was answered early isn't wanted. */
  #ended(): void {
    this.#responseEnded = true
    if (!this.#requestEnded && !this.#stream.closed) this.#stream.close(constants.NGHTTP2_NO_ERROR)
  }

  reset(): void {
    this.#responseEnded = true
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  #aborted(): void {
    if (this.#responseEnded) return
    this.#responseEnded = true
    this.events?.aborted()
  }
}
