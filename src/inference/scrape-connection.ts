/**
 * One keep-alive HTTP/1.1 connection to one endpoint with at most one request under way. Opened on demand, re-opened after a
 * failure. All plaintext connections of a thread read into one shared buffer: Node fills it and calls back synchronously.
 */
import { connect, Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type BodySink, HttpReadError, HttpResponseReader } from './http-response-reader.ts'
import type { ScrapeTls } from './scrape-tls.ts'

/**
 * `connect`: no connection; `refused`: the host answered that nobody listens; `closed`: lost before the answer was complete;
 * `timeout`; `malformed` and `too-large`: the peer answered something unusable.
 */
export type ScrapeFailure = 'connect' | 'refused' | 'closed' | 'timeout' | 'malformed' | 'too-large'

/** Who asks. Takes the body of a 200. */
export interface ScrapeRequest extends BodySink {
  /** The response is complete, and all of its body was taken. */
  answered(status: number): void
  failed(failure: ScrapeFailure, message: string): void
}

export interface ScrapeConnectionOptions {
  /** `ip:port`, IPv6 in brackets. */
  readonly address: string
  /** Absent: plaintext. */
  readonly tls?: ScrapeTls | undefined
  /** The server closed the connection while nothing was under way. */
  readonly onIdleClose?: () => void
}

export interface GetOptions {
  /** Bytes of the body at most. */
  readonly limit: number
  /** When `checkTime` gives up; ms of `performance.now`. */
  readonly deadline: number
  readonly asker: ScrapeRequest
}

const readBuffer = Buffer.allocUnsafeSlow(64 * 1024)

export class ScrapeConnection {
  readonly #host: string
  readonly #port: number
  readonly #authority: string
  readonly #tls: ScrapeTls | undefined
  readonly #onIdleClose: (() => void) | undefined
  readonly #reader = new HttpResponseReader()
  readonly #requests = new Map<string, Buffer>()
  #socket: Socket | undefined
  /** The request under way. */
  #request: Buffer | undefined
  #asker: ScrapeRequest | undefined
  #limit = 0
  #deadline = 0
  /** Whether this socket has answered before: then a close may just be the server's keep-alive timeout. */
  #reused = false

  constructor({ address, tls, onIdleClose }: ScrapeConnectionOptions) {
    const colon = address.lastIndexOf(':')
    this.#host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
    this.#port = Number(address.slice(colon + 1))
    this.#authority = address
    this.#tls = tls
    this.#onIdleClose = onIdleClose
  }

  get busy(): boolean {
    return this.#request !== undefined
  }

  /** Sends `GET path`; exactly one event follows, but not before the call returns, unless `destroy` is called. Must not be called while busy. */
  get(path: string, { limit, deadline, asker }: GetOptions): void {
    if (this.#request !== undefined) throw new Error('a request is under way')
    let request = this.#requests.get(path)
    if (request === undefined) {
      request = Buffer.from(
        `GET ${path} HTTP/1.1\r\nhost: ${this.#authority}\r\nuser-agent: signalbox\r\naccept: */*\r\naccept-encoding: identity\r\n\r\n`,
      )
      this.#requests.set(path, request)
    }
    this.#request = request
    this.#asker = asker
    this.#deadline = deadline
    this.#limit = limit
    this.#send()
  }

  /** Gives the request under way up once its time is over. */
  checkTime(now: number): void {
    if (this.#request === undefined || now < this.#deadline) return
    const connecting = this.#socket?.connecting === true
    this.#fail(
      connecting ? 'connect' : 'timeout',
      connecting ? 'timeout while connecting' : 'no complete answer in time',
    )
  }

  /** Closes the connection without an event. */
  destroy(): void {
    this.#request = undefined
    this.#drop()
  }

  #send(): void {
    this.#reader.reset(this.#limit, this.#asker!)
    if (this.#socket === undefined) this.#open()
    this.#socket?.write(this.#request!)
  }

  #open(): void {
    const socket = this.#tls === undefined ? this.#connectPlain() : this.#connectTls(this.#tls)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#socket === socket) this.#closed(error)
    })
    const ended = () => {
      if (this.#socket === socket) this.#closed(undefined)
    }
    socket.on('end', ended)
    socket.on('close', ended)
    this.#socket = socket
    this.#reused = false
  }

  #connectPlain(): Socket {
    const socket: Socket = connect({
      host: this.#host,
      port: this.#port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (count, buffer) => {
          if (this.#socket === socket) this.#read(buffer as Buffer, count)
          return true
        },
      },
    })
    return socket
  }

  #connectTls(tls: ScrapeTls): Socket {
    const target = { host: this.#host, port: this.#port, ALPNProtocols: ['http/1.1'], rejectUnauthorized: tls.verifies }
    let socket: Socket
    try {
      socket = connectTls({ ...target, secureContext: tls.context() })
    } catch (error) {
      // Certificates that cannot be read: as if there was no connection.
      socket = new Socket()
      socket.destroy(error as Error)
      return socket
    }
    socket.setNoDelay()
    socket.on('data', (bytes: Buffer) => {
      if (this.#socket === socket) this.#read(bytes, bytes.length)
    })
    return socket
  }

  #read(buffer: Buffer, count: number): void {
    if (this.#request === undefined) {
      // Unasked bytes: whatever they are, the next answer could not be told from them.
      this.#drop()
      return
    }
    let complete = false
    try {
      complete = this.#reader.push(buffer, 0, count)
    } catch (error) {
      this.#fail(error instanceof HttpReadError ? error.code : 'malformed', String(error))
      return
    }
    if (complete) this.#complete()
  }

  #complete(): void {
    this.#request = undefined
    if (this.#reader.keepAlive) this.#reused = true
    else this.#drop()
    this.#asker!.answered(this.#reader.status)
  }

  #closed(error: NodeJS.ErrnoException | undefined): void {
    if (this.#request === undefined) {
      this.#drop()
      this.#onIdleClose?.()
      return
    }
    if (error === undefined) {
      try {
        this.#reader.close()
        this.#complete()
        return
      } catch {
        // handled below: the response was cut off
      }
    }
    if (this.#reused && !this.#reader.begun) {
      this.#drop()
      this.#send()
      return
    }
    if (error?.code === 'ECONNREFUSED') this.#fail('refused', error.message)
    else if (error?.syscall === 'connect' || error?.syscall === 'getaddrinfo') this.#fail('connect', error.message)
    else this.#fail('closed', error?.message ?? 'connection closed before the answer was complete')
  }

  #fail(failure: ScrapeFailure, message: string): void {
    this.#request = undefined
    this.#drop()
    this.#asker!.failed(failure, message)
  }

  #drop(): void {
    const socket = this.#socket
    this.#socket = undefined
    socket?.destroy()
  }
}
