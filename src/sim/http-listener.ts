import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** First bytes of an HTTP/2 connection with prior knowledge (RFC 9113, 3.4); no HTTP/1 method begins like this. */
const PREFACE = Buffer.from('PRI ')
/** A connection that says nothing for so long is closed. */
const SILENCE_MS = 60_000
const KEEP_ALIVE_MS = 120_000

/** A port that speaks HTTP/1.1 and, when the client begins with it, HTTP/2 without TLS. */
export class HttpListener {
  readonly #http1: Server
  readonly #sockets = new Set<Socket>()

  constructor(handler: RequestListener, maxHeaderBytes: number) {
    this.#http1 = createServer({ maxHeaderSize: maxHeaderBytes, keepAliveTimeout: KEEP_ALIVE_MS }, handler)
    this.#http1.on('clientError', refuse)
    const http2 = createHttp2Server(
      { maxSessionMemory: 256, settings: { maxHeaderListSize: maxHeaderBytes } },
      (req, res) => {
        // The compatibility API has every member that the handlers use.
        handler(req as unknown as IncomingMessage, res as never)
      },
    )
    http2.on('sessionError', () => {})
    const accept1 = this.#http1.listeners('connection')[0] as (this: Server, socket: Socket) => void
    this.#http1.removeAllListeners('connection')
    this.#http1.on('connection', socket => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      sniff(socket, isHttp2 => {
        if (isHttp2) http2.emit('connection', socket)
        else {
          accept1.call(this.#http1, socket)
          socket.resume()
        }
      })
    })
  }

  /** Resolves with the port. Rejects when it cannot be had. */
  listen(host: string, port: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    this.#http1.once('error', reject)
    this.#http1.listen(port, host, () => {
      this.#http1.off('error', reject)
      resolve((this.#http1.address() as AddressInfo).port)
    })
    return promise
  }

  /** Stops listening and cuts every connection. */
  close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#http1.close(() => resolve())
    for (const socket of this.#sockets) socket.destroy()
    return promise
  }
}

/** Waits for the first bytes and tells whether they are HTTP/2; they are still there to be read. */
function sniff(socket: Socket, decide: (isHttp2: boolean) => void): void {
  let seen = Buffer.alloc(0)
  const ignore = () => {}
  const silent = () => socket.destroy()
  socket.on('error', ignore)
  socket.setTimeout(SILENCE_MS, silent)
  const take = (bytes: Buffer) => {
    seen = Buffer.concat([seen, bytes])
    const length = Math.min(seen.length, PREFACE.length)
    const matches = seen.subarray(0, length).equals(PREFACE.subarray(0, length))
    if (matches && length < PREFACE.length) return
    socket.off('data', take)
    socket.off('timeout', silent)
    socket.setTimeout(0)
    socket.pause()
    socket.unshift(seen)
    decide(matches)
  }
  socket.on('data', take)
}

const REFUSALS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/** Answers what is no HTTP, as far as the connection still takes an answer. */
function refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status = REFUSALS[error.code ?? ''] ?? '400 Bad Request'
  const code = Number.parseInt(status, 10)
  const body = JSON.stringify({ error: { message: status.slice(4), type: 'BadRequestError', param: null, code } })
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
  )
}
