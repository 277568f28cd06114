import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { CodecOptions, Downstream, DownstreamEvents, RequestHandler } from './downstream.ts'
import { HeaderList } from './header-list.ts'
import { Flow } from './message-sink.ts'
import { addressText } from './socket-address.ts'

const EMPTY = new Uint8Array()
/** How long an unfinished upload is still read after its early answer, so that the client sees the answer. */
const LINGER_MS = 1000

/** A server for connections that someone else accepts (`emit('connection')`). */
export function http1Server(options: CodecOptions, handler: RequestHandler): Server {
  const server = createServer(
    {
      maxHeaderSize: options.maxHeaderBytes,
      keepAliveTimeout: options.idleTimeoutMs,
      requestTimeout: 0,
      headersTimeout: 0,
      connectionsCheckingInterval: 2 ** 31 - 1,
      noDelay: true,
    },
    (request, response) => {
      accept(request, response, options, handler)
    },
  )
  server.maxRequestsPerSocket = 0
  return server
}

function accept(
  request: IncomingMessage,
  response: ServerResponse,
  options: CodecOptions,
  handler: RequestHandler,
): void {
  const headers = HeaderList.fromFlat(request.rawHeaders)
  const host = headers.get('host') ?? ''
  headers.remove('host')
  const stream = new Http1Downstream(request, response, options)
  const pseudo = new HeaderList([
    [':method', request.method ?? 'GET'],
    [':authority', host],
    [':scheme', stream.secure ? 'https' : 'http'],
    [':path', originForm(request.url ?? '/')],
    ...headers,
  ])
  const length = headers.get('content-length')
  const end = !headers.has('transfer-encoding') && (length === undefined || Number(length) === 0)
  stream.events = handler(stream, pseudo, end)
  stream.listen(end)
}

/** `http://host/path` of a proxy request becomes `/path`. */
function originForm(target: string): string {
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*(.*)$/i.exec(target)
  if (absolute === null) return target
  const rest = absolute[1] ?? ''
  return rest.startsWith('/') ? rest : `/${rest}`
}

class Http1Downstream implements Downstream {
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1'
  readonly remoteAddress: string
  readonly localAddress: string
  readonly secure: boolean
  readonly flow: Flow
  events: DownstreamEvents | undefined
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #options: CodecOptions
  #requestEnded = false
  #responseEnded = false
  #chunked = false

  constructor(request: IncomingMessage, response: ServerResponse, options: CodecOptions) {
    this.#request = request
    this.#response = response
    this.#options = options
    const { socket } = request
    this.protocol = request.httpVersion === '1.0' ? 'HTTP/1.0' : 'HTTP/1.1'
    this.secure = 'encrypted' in socket && socket.encrypted === true
    this.remoteAddress = addressText(socket.remoteAddress, socket.remotePort)
    this.localAddress = addressText(socket.localAddress, socket.localPort)
    this.flow = new Flow(open => {
      if (open) request.resume()
      else request.pause()
    })
  }

  get pendingBytes(): number {
    return this.#response.writableLength
  }

  listen(end: boolean): void {
    const request = this.#request
    const response = this.#response
    response.on('drain', () => this.events?.drained())
    response.on('error', () => this.#aborted())
    response.on('close', () => this.#aborted())
    request.on('error', () => this.#aborted())
    if (end) {
      this.#requestEnded = true
      request.resume()
      return
    }
    request.on('data', (bytes: Buffer) => this.events?.data(bytes, false))
    request.once('end', () => {
      this.#requestEnded = true
      const trailers = this.#options.http1Trailers ? request.rawTrailers : []
      if (trailers.length > 0) this.events?.trailers(HeaderList.fromFlat(trailers))
      else this.events?.data(EMPTY, true)
    })
    // A flow that was closed before the listener came stays closed.
    if (request.readableFlowing === false && !this.flow.open) request.pause()
  }

  headers(headers: HeaderList, end: boolean): void {
    const response = this.#response
    if (response.headersSent || response.destroyed) return
    const status = Number(headers.get(':status'))
    // Only chunked messages have trailers; node refuses to announce them otherwise.
    if (end || headers.has('content-length')) headers.remove('trailer')
    const flat = headers.flat()
    const bodiless = this.#request.method === 'HEAD' || status === 204 || status === 304
    const framed = headers.has('content-length')
    if (end && !framed && !bodiless) flat.push('content-length', '0')
    else if (!framed && !bodiless && this.protocol === 'HTTP/1.1') {
      flat.push('transfer-encoding', 'chunked')
      this.#chunked = true
    }
    response.sendDate = false
    if (this.#options.drain.now) flat.push('connection', 'close')
    try {
      response.writeHead(status, flat)
    } catch {
      this.reset()
      return
    }
    if (end) this.#end()
    else response.flushHeaders()
  }

  data(bytes: Uint8Array, end: boolean): void {
    if (this.#response.destroyed) return
    if (bytes.length > 0) this.#response.write(bytes)
    if (end) this.#end()
  }

  trailers(trailers: HeaderList): void {
    if (this.#response.destroyed) return
    if (this.#options.http1Trailers && this.#chunked)
      this.#response.addTrailers([...trailers].map(([name, value]): [string, string] => [name, value]))
    this.#end()
  }

  #end(): void {
    this.#responseEnded = true
    if (!this.#requestEnded) this.#linger()
    this.#response.end()
  }

  /** Answered early: a connection closed at once would be reset by what the client still sends, and the answer be lost. */
  #linger(): void {
    const { socket } = this.#request
    const timer = setTimeout(() => {
      if (!this.#requestEnded) socket.destroy()
    }, LINGER_MS)
    socket.once('close', () => clearTimeout(timer))
    // node:http calls this when the connection is not kept alive.
    socket.destroySoon = () => socket.end()
    this.#request.once('end', () => {
      clearTimeout(timer)
      Reflect.deleteProperty(socket, 'destroySoon')
      if (socket.writableEnded) socket.destroySoon()
    })
    this.flow.releaseAll()
  }

  reset(): void {
    this.#responseEnded = true
    this.#request.socket.destroy()
  }

  #aborted(): void {
    if (this.#responseEnded && (this.#response.writableFinished || this.#request.socket.destroyed)) return
    this.#responseEnded = true
    this.events?.aborted()
  }
}
