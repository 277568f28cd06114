/**
 * The gRPC side of the ext_proc client: one HTTP/2 connection per processor endpoint, a gRPC stream per HTTP stream, messages
 * by the generated code (the server's hand codec is its own, so both sides of a test share no bugs). Streams end as Envoy ends
 * them: END_STREAM and RST_STREAM(INTERNAL_ERROR) at once, whether the exchange is complete or the client went away.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2'
import { fromBinary, type MessageInitShape, create, toBinary } from '@bufbuild/protobuf'
import {
  type ProcessingRequestSchema as RequestType,
  ProcessingRequestSchema,
  type ProcessingResponse,
  ProcessingResponseSchema,
} from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { connectionFailure, connectSocket, type Transport } from './transport.ts'
import { UNBOUNDED_SESSION_MEMORY } from './session-memory.ts'

const PATH = '/envoy.service.ext_proc.v3.ExternalProcessor/Process'

const GrpcCode = { INTERNAL: 13, UNAVAILABLE: 14 } as const

/** What a call tells its owner; nothing follows `closed`. */
export interface CallEvents {
  message(message: ProcessingResponse): void
  /** `message` as sent; `cause`: Envoy's name of what ended the HTTP/2 stream. */
  closed(status: number, message: string, cause: string): void
  /** Everything sent was taken by the connection. */
  drained(): void
}

export interface ProcessCall {
  send(message: MessageInitShape<typeof RequestType>): void
  /** Bytes sent that flow control or the socket still holds back. */
  readonly pendingBytes: number
  /** No events follow. `polite` half-closes and waits up to a second for the server's end (`ext_proc_graceful_grpc_close`). */
  finish(polite: boolean): void
}

/** HTTP/2 and connection settings of a cluster. */
export interface ConnectionOptions {
  readonly streamWindow: number
  readonly connectionWindow: number
  readonly connectTimeoutMs: number
  /** 0 = no PINGs. */
  readonly keepaliveIntervalMs: number
  readonly keepaliveTimeoutMs: number
  /** HTTP/1.1 connections that are idle for so long are closed. */
  readonly idleTimeoutMs: number
}

/** The connection to one endpoint; made when first needed and again after a loss or a GOAWAY. */
export class ProcessorConnection {
  readonly #transport: Transport
  readonly #options: ConnectionOptions
  readonly #sessions = new Set<ClientHttp2Session>()
  #current: ClientHttp2Session | undefined
  /** Connections that never came to be, and why. */
  readonly #failures = new WeakMap<ClientHttp2Session, string>()
  #failedAt = Number.NEGATIVE_INFINITY

  constructor(transport: Transport, options: ConnectionOptions) {
    this.#transport = transport
    this.#options = options
  }

  /** True for a second after a connection could not be made. */
  get failedLately(): boolean {
    return performance.now() - this.#failedAt < 1000
  }

  /** Opens a gRPC stream; failures arrive as `closed`, never synchronously. */
  open(authority: string, metadata: ReadonlyMap<string, string>, events: CallEvents): ProcessCall {
    const session = this.#session()
    const stream = session.request(
      {
        ':method': 'POST',
        ':path': PATH,
        ':authority': authority,
        ':scheme': this.#transport.tls === undefined ? 'http' : 'https',
        te: 'trailers',
        // node ends its side of every stream that it closes, where Envoy resets it (src/extproc/service.ts).
        'x-signalbox-ends-streams': 'always',
        'content-type': 'application/grpc',
        ...Object.fromEntries(metadata),
        'x-envoy-internal': 'true',
      },
      { endStream: false },
    )
    return new Call(stream, events, () => this.#failures.get(session))
  }

  #session(): ClientHttp2Session {
    if (this.#current !== undefined && !this.#current.closed && !this.#current.destroyed) return this.#current
    const options = this.#options
    let connected = false
    const failed = (why: string): void => {
      this.#failedAt = performance.now()
      this.#failures.set(session, why)
    }
    const session = connect(`http://${this.#transport.name}`, {
      createConnection: () => {
        const socket = connectSocket(this.#transport, ['h2'])
        // Before the session tells its streams, which ask for the reason.
        socket.on('error', error => {
          if (!connected) failed(connectionFailure(error))
        })
        return socket
      },
      maxSessionMemory: UNBOUNDED_SESSION_MEMORY,
      settings: { enablePush: false, initialWindowSize: options.streamWindow, maxConcurrentStreams: 1024 },
    })
    this.#current = session
    this.#sessions.add(session)
    const forget = (): void => {
      if (this.#current === session) this.#current = undefined
    }
    const timer = setTimeout(() => {
      failed('connection_timeout')
      session.destroy(new Error('connection timeout'))
    }, options.connectTimeoutMs)
    let pings: NodeJS.Timeout | undefined
    session.once('connect', () => {
      connected = true
      clearTimeout(timer)
      if (session.destroyed) return
      session.setLocalWindowSize(options.connectionWindow)
      if (options.keepaliveIntervalMs > 0) pings = keepAlive(session, options)
    })
    session.on('goaway', forget)
    // Streams report what became of them.
    session.on('error', forget)
    session.once('close', () => {
      clearTimeout(timer)
      clearInterval(pings)
      forget()
      this.#sessions.delete(session)
    })
    return session
  }

  /** Ends the connections once their streams are over. */
  retire(): void {
    for (const session of this.#sessions) session.close()
    this.#current = undefined
  }

  destroy(): void {
    for (const session of this.#sessions) session.destroy()
  }
}

function keepAlive(session: ClientHttp2Session, options: ConnectionOptions): NodeJS.Timeout {
  let answered = true
  let waited = 0
  return setInterval(() => {
    if (!answered) {
      waited += options.keepaliveIntervalMs
      if (waited >= options.keepaliveTimeoutMs) session.destroy(new Error('keepalive timeout'))
      return
    }
    answered = false
    waited = 0
    session.ping(() => {
      answered = true
    })
  }, options.keepaliveIntervalMs).unref()
}

class Call implements ProcessCall {
  readonly #stream: ClientHttp2Stream
  readonly #events: CallEvents
  readonly #failure: () => string | undefined
  #over = false
  #responded = false
  #corked = false
  #trailers: IncomingHttpHeaders | undefined
  #buffer: Buffer = Buffer.alloc(0)

  /** `failure`: why the connection couldn't be made, once that is known. */
  constructor(stream: ClientHttp2Stream, events: CallEvents, failure: () => string | undefined) {
    this.#failure = failure
    this.#stream = stream
    this.#events = events
    stream.on('response', headers => {
      this.#responded = true
      if (headers[':status'] !== 200) this.#close(GrpcCode.UNAVAILABLE, `HTTP status ${headers[':status']}`)
      else if (headers['grpc-status'] !== undefined) this.#trailers = headers
    })
    stream.on('trailers', headers => {
      this.#trailers = headers
    })
    stream.on('data', (bytes: Buffer) => this.#receive(bytes))
    stream.on('end', () => this.#ended())
    stream.on('drain', () => this.#drained())
    stream.on('error', () => this.#lost())
    stream.on('close', () => this.#lost())
  }

  get pendingBytes(): number {
    return this.#stream.writableLength
  }

  send(message: MessageInitShape<typeof RequestType>): void {
    if (this.#over || this.#stream.destroyed || !this.#stream.writable) return
    const body = toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, message))
    const frame = Buffer.allocUnsafe(5)
    frame[0] = 0
    frame.writeUInt32BE(body.length, 1)
    // One write for all messages of a turn, as Envoy does.
    if (!this.#corked) {
      this.#corked = true
      this.#stream.cork()
      process.nextTick(() => {
        this.#corked = false
        this.#stream.uncork()
      })
    }
    this.#stream.write(frame)
    this.#stream.write(body)
  }

  finish(polite: boolean): void {
    if (this.#over) return
    this.#over = true
    const stream = this.#stream
    if (stream.destroyed) return
    // Nobody reads any more, but an unread answer must not keep the stream alive.
    stream.resume()
    if (polite) {
      const timer = setTimeout(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR), 1000)
      stream.once('close', () => clearTimeout(timer))
      stream.end()
    } else if (stream.writableLength > 0 && !this.#corked) stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    else stream.end(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR))
  }

  #receive(bytes: Buffer): void {
    let rest = this.#buffer.length === 0 ? bytes : Buffer.concat([this.#buffer, bytes])
    while (!this.#over && rest.length >= 5) {
      if (rest[0] !== 0) {
        this.#fail('compressed message without grpc-encoding')
        return
      }
      const length = rest.readUInt32BE(1)
      if (rest.length < 5 + length) break
      const body = rest.subarray(5, 5 + length)
      rest = rest.subarray(5 + length)
      let message: ProcessingResponse
      try {
        message = fromBinary(ProcessingResponseSchema, body)
      } catch {
        this.#fail('Cannot parse gRPC message')
        return
      }
      this.#events.message(message)
    }
    this.#buffer = rest
  }

  #fail(text: string): void {
    this.#close(GrpcCode.INTERNAL, text)
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  #ended(): void {
    const status = Number(this.#trailers?.['grpc-status'] ?? Number.NaN)
    if (!Number.isInteger(status)) return
    const text = String(this.#trailers?.['grpc-message'] ?? '')
    this.#close(status, status === 0 && this.#buffer.length > 0 ? 'truncated message' : text)
    // Even if the server ended first, Envoy resets.
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  #drained(): void {
    if (!this.#over) this.#events.drained()
  }

  #lost(): void {
    if (this.#over) return
    const failure = this.#failure()
    const reset = REASONS[this.#stream.rstCode ?? 0]
    const reason =
      failure === undefined ? (reset ?? 'connection termination') : failure.replace(/\|.*/, '').replaceAll('_', ' ')
    const when = this.#responded ? 'after_response_started' : 'before_response_started'
    const cause = `upstream_reset_${when}{${failure ?? reason}}`
    if (this.#responded) this.#close(GrpcCode.INTERNAL, reason, cause)
    else
      this.#close(
        GrpcCode.UNAVAILABLE,
        `upstream connect error or disconnect/reset before headers. reset reason: ${reason}`,
        cause,
      )
  }

  #close(status: number, message: string, cause = 'via_upstream'): void {
    if (this.#over) return
    this.#over = true
    this.#events.closed(status, message, cause)
  }
}

const REASONS: Readonly<Record<number, string>> = {
  [constants.NGHTTP2_REFUSED_STREAM]: 'remote refused stream reset',
  [constants.NGHTTP2_INTERNAL_ERROR]: 'remote reset',
  [constants.NGHTTP2_CANCEL]: 'remote reset',
}
