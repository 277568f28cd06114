/** One HTTP/2 connection of a client: its streams, its age, its keepalive, and its orderly end. */
import { constants } from 'node:http2'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { isGrpc } from './grpc-content-type.ts'
import { parseGrpcTimeout } from './grpc-timeout.ts'
import { ignoreError } from './http2-hooks.ts'
import { GrpcStream } from './http2-stream.ts'
import type { StreamOwner } from './http2-stream.ts'
import { HEADERS_ONLY, trailersOnly } from './response-headers.ts'
import { GrpcStatus } from './transport.ts'
import type { StreamHeaders, StreamService } from './transport.ts'

/** What the connections of one server share. */
export interface ConnectionContext {
  readonly services: ReadonlyMap<string, StreamService>
  readonly initialWindow: number
  readonly connectionWindow: number
  readonly maxStreamPendingBytes: number
  readonly maxConnectionPendingBytes: number
  readonly maxConcurrentStreams: number
  handlerFailed(error: unknown, path: string): void
  connectionEnded(connection: Connection): void
}

/**
 * GOAWAY(NO_ERROR) with the highest stream id: "open no more streams here, those on their way are still welcome" (RFC 9113
 * §6.8). nghttp2 has a call for it, node has not, and after node's own `goaway` new streams are dropped unanswered.
 */
const SHUTDOWN_NOTICE = Buffer.from('0000080700000000007fffffff00000000', 'hex')

/**
 * How long a client may take to end a stream that we have ended. Envoy resets it at once, so that our RST_STREAM and the packet
 * that it takes are nearly always saved (10 µs).
 */
const LINGER_MS = 100

/** Between the answer to the shutdown notice's ping and the final GOAWAY. */
const UNDER_WAY_MS = 50

/** After the streams were ended by force, how long their trailers may take to leave. */
const FLUSH_MS = 500

export class Connection implements StreamOwner {
  readonly initialWindow: number
  readonly maxStreamPendingBytes: number
  private readonly context: ConnectionContext
  private readonly session: ServerHttp2Session
  /** The socket when frames may be written to it beside node: not for TLS, whose wrapper aborts on two writes at once. */
  private readonly plainSocket: Socket | undefined
  private readonly streams: GrpcStream[] = []
  private readonly capCheckStep: number
  private idleSince = performance.now()
  private pingUnanswered = false
  private retiring = false
  /** Streams that we have ended and the client has not. */
  private readonly lingering: GrpcStream[] = []
  private lingerTimer: NodeJS.Timeout | undefined
  private ageTimer: NodeJS.Timeout | undefined
  private closeTimer: NodeJS.Timeout | undefined
  private graceTimer: NodeJS.Timeout | undefined

  constructor(session: ServerHttp2Session, plainSocket: Socket | undefined, context: ConnectionContext) {
    this.session = session
    this.plainSocket = plainSocket
    this.context = context
    this.initialWindow = context.initialWindow
    this.maxStreamPendingBytes = context.maxStreamPendingBytes
    // While no stream holds more than its share, all together cannot hold more than the cap.
    this.capCheckStep = Math.floor(context.maxConnectionPendingBytes / context.maxConcurrentStreams)
    session.setLocalWindowSize(context.connectionWindow)
    session.on('stream', (stream, headers) => this.open(stream, headers))
    session.on('close', () => this.closed())
  }

  get streamCount(): number {
    return this.streams.length
  }

  get lost(): boolean {
    return this.session.destroyed
  }

  /** Retires the connection when it is `ageMs` old. */
  limitAge(ageMs: number, graceMs: number): void {
    this.ageTimer = setTimeout(() => this.retire(graceMs), ageMs).unref()
  }

  /** Lets the open streams finish; what is left after `graceMs` ends with UNAVAILABLE. */
  retire(graceMs: number): void {
    if (this.session.destroyed) return
    clearTimeout(this.graceTimer)
    this.graceTimer = setTimeout(() => this.expire(), Math.min(graceMs, 0x7fffffff))
    if (this.retiring) return
    this.retiring = true
    clearTimeout(this.ageTimer)
    if (this.plainSocket === undefined || this.session.connecting) {
      this.session.close()
      return
    }
    this.plainSocket.write(SHUTDOWN_NOTICE)
    // When the peer answers a ping, it has read the notice; what it had begun to send by then is given time to arrive, because
    // answers to pings overtake other frames.
    const close = (): void => {
      this.closeTimer = setTimeout(() => this.session.close(), UNDER_WAY_MS)
    }
    if (!this.session.ping(close)) close()
  }

  destroy(): void {
    this.session.destroy()
  }

  /** Called every keepalive interval: a peer that did not answer the last call's ping is dead. */
  probe(): void {
    if (this.session.destroyed || this.session.closed) return
    if (this.pingUnanswered) {
      this.session.destroy()
      return
    }
    this.pingUnanswered = this.session.ping(error => {
      if (error === null) this.pingUnanswered = false
    })
  }

  /** Retires the connection when it has had no stream for `idleMs`. */
  retireIfIdle(idleMs: number): void {
    if (this.streams.length === 0 && performance.now() - this.idleSince >= idleMs) this.retire(FLUSH_MS)
  }

  overPendingCap(): boolean {
    let sum = 0
    for (const stream of this.streams) sum += stream.pendingBytes
    return sum > this.context.maxConnectionPendingBytes
  }

  handlerFailed(error: unknown, path: string): void {
    this.context.handlerFailed(error, path)
  }

  linger(stream: GrpcStream): void {
    this.lingering.push(stream)
    this.lingerTimer ??= setTimeout(() => this.stopLingering(), LINGER_MS)
  }

  private stopLingering(): void {
    this.lingerTimer = undefined
    for (const stream of this.lingering.splice(0)) if (!stream.stopPeer()) this.linger(stream)
  }

  remove(stream: GrpcStream): void {
    const last = this.streams.pop()
    if (last !== undefined && last !== stream) {
      this.streams[stream.slot] = last
      last.slot = stream.slot
    }
    if (this.streams.length === 0) this.idleSince = performance.now()
  }

  private open(http2: ServerHttp2Stream, headers: StreamHeaders): void {
    // The client may have reset the stream in the same packet; nobody has heard of it, so there is nothing to undo.
    if (http2.destroyed || http2.closed) return
    const service = this.context.services.get(headers[':path'] as string)
    if (service === undefined || !isGrpcPost(headers)) {
      refuse(http2, headers)
      return
    }
    const timeout = headers['grpc-timeout']
    let deadlineMs: number | undefined
    if (timeout !== undefined) {
      deadlineMs = parseGrpcTimeout(timeout as string)
      if (deadlineMs === undefined) {
        answer(http2, trailersOnly(GrpcStatus.INTERNAL, 'malformed grpc-timeout', false))
        return
      }
    }
    const stream = new GrpcStream(http2, this, service, this.capCheckStep)
    stream.slot = this.streams.length
    this.streams.push(stream)
    stream.start(headers, deadlineMs)
  }

  private expire(): void {
    for (const stream of this.streams.slice()) stream.fail(GrpcStatus.UNAVAILABLE, 'the server is shutting down')
    this.graceTimer = setTimeout(() => this.session.destroy(), FLUSH_MS)
  }

  private closed(): void {
    clearTimeout(this.ageTimer)
    clearTimeout(this.graceTimer)
    clearTimeout(this.lingerTimer)
    clearTimeout(this.closeTimer)
    this.context.connectionEnded(this)
  }
}

function isGrpcPost(headers: StreamHeaders): boolean {
  return headers[':method'] === 'POST' && isGrpc(headers['content-type'])
}

/** The answers that gRPC asks for when a request is none of ours. */
function refuse(http2: ServerHttp2Stream, headers: StreamHeaders): void {
  if (!isGrpc(headers['content-type'])) answer(http2, [':status', '415'])
  else if (headers[':method'] !== 'POST') answer(http2, [':status', '405', 'allow', 'POST'])
  else answer(http2, trailersOnly(GrpcStatus.UNIMPLEMENTED, `unknown method ${String(headers[':path'])}`, false))
}

/** Answers and lets go: what else the peer sends on this stream is thrown away, and it is told to stop. */
function answer(http2: ServerHttp2Stream, head: readonly string[]): void {
  http2.on('error', ignoreError)
  http2.respond(head, HEADERS_ONLY)
  if (!http2.endAfterHeaders) {
    setImmediate(() => {
      if (!http2.closed && !http2.destroyed) http2.close(constants.NGHTTP2_NO_ERROR)
    })
  }
}
