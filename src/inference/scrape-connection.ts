/**
 * One keep-alive HTTP/1.1 connection to one endpoint with at most one request under way. Opened on demand, re-opened after a
 * failure. All connections of a thread read into one shared buffer: Node fills it and calls back synchronously, and the reader
 * copies what belongs to the body.
 */
import { connect, type Socket } from 'node:net'
import { HttpReadError, HttpResponseReader } from './http-response-reader.ts'

/**
 * `connect`: no connection; `refused`: the host answered that nobody listens; `closed`: lost before the answer was complete;
 * `timeout`; `malformed` and `too-large`: the peer answered something unusable.
 */
export type ScrapeFailure = 'connect' | 'refused' | 'closed' | 'timeout' | 'malformed' | 'too-large'

export interface ScrapeEvents {
  /** The response is complete. `body` is valid during the call only. */
  answered(status: number, body: Buffer): void
  failed(failure: ScrapeFailure, message: string): void
}

const readBuffer = Buffer.allocUnsafeSlow(64 * 1024)

export class ScrapeConnection {
  readonly #host: string
  readonly #port: number
  readonly #authority: string
  readonly #events: ScrapeEvents
  readonly #reader = new HttpResponseReader()
  readonly #requests = new Map<string, Buffer>()
  #socket: Socket | undefined
  /** The request under way. */
  #request: Buffer | undefined
  #limit = 0
  /** Whether this socket has answered before: then a close may just be the server's keep-alive timeout. */
  #reused = false

  /** @param address `ip:port`, IPv6 in brackets. */
  constructor(address: string, events: ScrapeEvents) {
    const colon = address.lastIndexOf(':')
    this.#host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
    this.#port = Number(address.slice(colon + 1))
    this.#authority = address
    this.#events = events
  }

  get busy(): boolean {
    return this.#request !== undefined
  }

  /** Sends `GET path`; exactly one event follows, unless `destroy` is called. Must not be called while busy. */
  get(path: string, limit: number): void {
    if (this.#request !== undefined) throw new Error('a request is under way')
    let request = this.#requests.get(path)
    if (request === undefined) {
      request = Buffer.from(
        `GET ${path} HTTP/1.1\r\nhost: ${this.#authority}\r\nuser-agent: signalbox\r\naccept: */*\r\naccept-encoding: identity\r\n\r\n`,
      )
      this.#requests.set(path, request)
    }
    this.#request = request
    this.#limit = limit
    this.#send()
  }

  /** Gives the request under way up. */
  timeOut(): void {
    if (this.#request === undefined) return
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
    this.#reader.reset(this.#limit)
    if (this.#socket === undefined) this.#open()
    this.#socket?.write(this.#request!)
  }

  #open(): void {
    const socket = connect({
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
    this.#events.answered(this.#reader.status, this.#reader.buffer.subarray(0, this.#reader.length))
  }

  #closed(error: NodeJS.ErrnoException | undefined): void {
    if (this.#request === undefined) {
      this.#drop()
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
    this.#events.failed(failure, message)
  }

  #drop(): void {
    const socket = this.#socket
    this.#socket = undefined
    socket?.destroy()
  }
}
