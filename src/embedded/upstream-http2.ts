/** HTTP/2 towards upstreams (prior knowledge, or ALPN under TLS). */
import { type ClientHttp2Stream, constants } from 'node:http2'
import { HeaderList } from './header-list.ts'
import type { AttemptFailure } from './retry.ts'
import { isBodiless, type Upstream, type UpstreamEvents, type UpstreamOptions } from './upstream.ts'

const EMPTY = new Uint8Array()

export class Http2Upstream implements Upstream {
  readonly #options: UpstreamOptions
  readonly #events: UpstreamEvents
  #stream: ClientHttp2Stream | undefined
  #method = ''
  #over = false
  #trailersOut: HeaderList | undefined
  #trailersIn: HeaderList | undefined
  #connected = false

  constructor(options: UpstreamOptions, events: UpstreamEvents) {
    this.#options = options
    this.#events = events
  }

  get pendingBytes(): number {
    return this.#stream?.writableLength ?? 0
  }

  get requestSent(): boolean {
    return this.#connected
  }

  headers(headers: HeaderList, end: boolean): void {
    this.#method = headers.get(':method') ?? 'GET'
    let stream: ClientHttp2Stream
    try {
      const { session } = this.#options.endpoint
      stream = session.request(headers.record(), { endStream: end, waitForTrailers: !end })
      if (!session.connecting) this.#connected = true
      else
        session.once('connect', () => {
          this.#connected = true
        })
    } catch (error) {
      this.#fail('reset', error instanceof Error ? error.message : 'invalid request')
      return
    }
    this.#stream = stream
    stream.on('wantTrailers', () => stream.sendTrailers(this.#trailersOut?.record() ?? {}))
    stream.on('response', (_headers, flags, raw) => this.#receive(stream, flags, raw))
    stream.on('drain', () => {
      if (!this.#over) this.#events.drained()
    })
    stream.on('trailers', (_trailers, _flags, raw) => {
      this.#trailersIn = HeaderList.fromFlat(raw)
    })
    stream.on('error', () => this.#lost(stream))
    stream.on('close', () => this.#lost(stream))
  }

  #receive(stream: ClientHttp2Stream, flags: number, raw: readonly string[]): void {
    if (this.#over) return
    const headers = HeaderList.fromFlat(raw)
    const end = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0 || isBodiless(this.#method, headers)
    if (end) this.#over = true
    this.#events.headers(headers, end)
    if (end) {
      stream.resume()
      return
    }
    stream.on('data', (bytes: Buffer) => {
      if (!this.#over) this.#events.data(bytes, false)
    })
    stream.once('end', () => {
      if (this.#over || (stream.rstCode ?? 0) !== 0) return
      this.#over = true
      if (this.#trailersIn !== undefined) this.#events.trailers(this.#trailersIn)
      else this.#events.data(EMPTY, true)
    })
  }

  data(bytes: Uint8Array, end: boolean): void {
    const stream = this.#stream
    if (this.#over || stream === undefined || !stream.writable) return
    if (bytes.length > 0) stream.write(bytes)
    if (end) stream.end()
  }

  trailers(trailers: HeaderList): void {
    this.#trailersOut = trailers
    this.data(EMPTY, true)
  }

  read(open: boolean): void {
    if (open) this.#stream?.resume()
    else this.#stream?.pause()
  }

  abort(): void {
    const stream = this.#stream
    const finished = this.#over && stream?.writableEnded === true
    this.#over = true
    if (stream !== undefined && !finished && !stream.destroyed && !stream.closed) stream.close(constants.NGHTTP2_CANCEL)
  }

  #lost(stream: ClientHttp2Stream): void {
    if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) this.#fail('refused-stream', 'remote_refused_stream_reset')
    else if (this.#connected) this.#fail('reset', stream.rstCode === 0 ? 'connection_termination' : 'remote_reset')
    else this.#fail('connect-failure', 'remote_connection_failure')
  }

  #fail(failure: AttemptFailure, details: string): void {
    if (this.#over) return
    this.#over = true
    this.#events.failed(failure, details)
  }
}
