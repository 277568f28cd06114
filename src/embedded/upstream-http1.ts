/** HTTP/1.1 towards upstreams over node:http, sending exactly the headers that were decided. */
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import type { Socket } from 'node:net'
import { HeaderList, removeHopByHop } from './header-list.ts'
import type { AttemptFailure } from './retry.ts'
import { connectionFailure } from './transport.ts'
import { isBodiless, type Upstream, type UpstreamEvents, type UpstreamOptions } from './upstream.ts'

const BODILESS_METHODS = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT'])
const EMPTY = new Uint8Array()

export class Http1Upstream implements Upstream {
  readonly #options: UpstreamOptions
  readonly #events: UpstreamEvents
  #request: ClientRequest | undefined
  #response: IncomingMessage | undefined
  #method = ''
  #connected = false
  #over = false
  #chunked = false
  /** Bytes that content-length still promises. */
  #remaining = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(options: UpstreamOptions, events: UpstreamEvents) {
    this.#options = options
    this.#events = events
  }

  get pendingBytes(): number {
    return this.#request?.writableLength ?? 0
  }

  get requestSent(): boolean {
    return this.#connected
  }

  headers(headers: HeaderList, end: boolean): void {
    this.#method = headers.get(':method') ?? 'GET'
    const flat = ['host', headers.get(':authority') ?? '']
    const length = headers.get('content-length')
    for (const [name, value] of headers) {
      // Only chunked messages have trailers; node refuses to announce them otherwise.
      const announces = name === 'trailer' && (end || length !== undefined)
      if (!name.startsWith(':') && name !== 'host' && !announces) flat.push(name, value)
    }
    if (length !== undefined) this.#remaining = Number(length)
    if (!end && length === undefined) {
      flat.push('transfer-encoding', 'chunked')
      this.#chunked = true
    } else if (end && length === undefined && !BODILESS_METHODS.has(this.#method)) flat.push('content-length', '0')
    if (end && (length ?? '0') !== '0') {
      this.#fail('reset', 'content_length_mismatch')
      return
    }
    try {
      this.#open(headers.get(':path') ?? '/', flat)
    } catch (error) {
      this.#fail('reset', error instanceof Error ? error.message : 'invalid request')
      return
    }
    if (end) this.#request?.end()
    else this.#request?.flushHeaders()
  }

  #open(path: string, headers: string[]): void {
    const { endpoint, connectTimeoutMs } = this.#options
    // The agent connects by the endpoint's transport; host and port only name the pool.
    const outgoing = request({ method: this.#method, path, headers, agent: endpoint.agent, setHost: false })
    this.#request = outgoing
    this.#timer = setTimeout(() => this.#fail('connect-failure', 'connection_timeout'), connectTimeoutMs)
    outgoing.once('socket', (socket: Socket) => {
      if (!socket.connecting) this.#setConnected()
      else socket.once(endpoint.transport.tls === undefined ? 'connect' : 'secureConnect', () => this.#setConnected())
    })
    outgoing.once('response', response => this.#receive(response))
    outgoing.on('drain', () => {
      if (!this.#over) this.#events.drained()
    })
    outgoing.on('upgrade', (_response, socket: Socket) => {
      socket.destroy()
      this.#fail('reset', 'protocol_error')
    })
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#connected)
        this.#fail('reset', error.code?.startsWith('HPE_') === true ? 'protocol_error' : 'connection_termination')
      else this.#fail('connect-failure', connectionFailure(error))
    })
    outgoing.on('close', () => this.#fail('reset', 'connection_termination'))
  }

  #setConnected(): void {
    this.#connected = true
    clearTimeout(this.#timer)
  }

  data(bytes: Uint8Array, end: boolean): void {
    const outgoing = this.#request
    if (this.#over || outgoing === undefined) return
    this.#remaining -= bytes.length
    // Surplus bytes would start the next request on this connection, missing ones would swallow it.
    if (this.#remaining < 0 || (end && this.#remaining > 0 && this.#remaining !== Number.POSITIVE_INFINITY)) {
      this.#fail('reset', 'content_length_mismatch')
      return
    }
    if (bytes.length > 0) outgoing.write(bytes)
    if (end) outgoing.end()
  }

  trailers(trailers: HeaderList): void {
    const outgoing = this.#request
    if (this.#over || outgoing === undefined) return
    if (this.#options.trailers && this.#chunked)
      outgoing.addTrailers([...trailers].map(([name, value]): [string, string] => [name, value]))
    this.data(EMPTY, true)
  }

  #receive(response: IncomingMessage): void {
    this.#response = response
    if (this.#over) return
    const headers = HeaderList.fromFlat(response.rawHeaders)
    removeHopByHop(headers)
    headers.add(':status', String(response.statusCode))
    const end = isBodiless(this.#method, headers) || headers.get('content-length') === '0'
    response.on('error', () => this.#fail('reset', 'connection_termination'))
    response.on('close', () => {
      if (!response.complete) this.#fail('reset', 'connection_termination')
    })
    if (end) this.#over = true
    this.#events.headers(headers, end)
    if (end) {
      response.resume()
      return
    }
    response.on('data', (bytes: Buffer) => {
      if (!this.#over) this.#events.data(bytes, false)
    })
    response.once('end', () => {
      if (this.#over || !response.complete) return
      this.#over = true
      if (this.#options.trailers && response.rawTrailers.length > 0)
        this.#events.trailers(HeaderList.fromFlat(response.rawTrailers))
      else this.#events.data(EMPTY, true)
    })
  }

  read(open: boolean): void {
    if (open) this.#response?.resume()
    else this.#response?.pause()
  }

  abort(): void {
    const responded = this.#over && this.#response !== undefined
    this.#over = true
    clearTimeout(this.#timer)
    // A finished exchange gives its connection back by itself; anything else can't be reused.
    if (!responded || this.#request?.writableEnded !== true) this.#request?.destroy()
  }

  #fail(failure: AttemptFailure, details: string): void {
    clearTimeout(this.#timer)
    if (this.#over) return
    this.#over = true
    this.#request?.destroy()
    this.#events.failed(failure, details)
  }
}
