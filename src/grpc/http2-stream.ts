/**
 * One gRPC stream over a `node:http2` stream.
 *
 * Reading goes around node's Readable: the stream's own `push`, which node's native side calls with every DATA payload, is
 * replaced by ours. So parts reach the service at once, whether the stream may receive more or not, and nothing is buffered on the
 * way. Flow control uses the only two levers that node has: while a stream is not "reading", its window is not replenished
 * (the connection's always is, so a stalled stream never blocks its neighbours); `_read()` gives back all that was withheld and
 * switches reading on, the event `pause` switches it off. A peer can therefore send the initial window, what was granted, and
 * at most one window (64 KiB) more, because what was withheld is given back as a whole.
 */
import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import { Duplex, Readable } from 'node:stream'
import { CutResult, MessageCutter } from './message-cutter.ts'
import type { MessageSink } from './message-cutter.ts'
import { ANSWER_HEAD, BODY_FOLLOWS, HEADERS_ONLY, trailers, trailersOnly } from './response-headers.ts'
import { GrpcStatus, StreamEnd } from './transport.ts'
import type { ServerStream, StreamHandler, StreamHeaders, StreamService } from './transport.ts'

/** What a stream needs of its connection. */
export interface StreamOwner {
  readonly initialWindow: number
  readonly maxStreamPendingBytes: number
  /** True when all streams of the connection together hold more than they may. */
  overPendingCap(): boolean
  /** Has `stopPeer` called in a while. */
  linger(stream: GrpcStream): void
  /** True when the connection itself is gone. */
  readonly lost: boolean
  handlerFailed(error: unknown, path: string): void
  remove(stream: GrpcStream): void
}

const OWNER = Symbol('signalbox.stream')
type OwnedStream = ServerHttp2Stream & {
  [OWNER]: GrpcStream
  /** Nothing public says that the end was pushed while it has not been read. */
  readonly _readableState: { readonly ended: boolean }
}

/** Pieces of one upward call up to this many bytes are copied together; beyond it they are written as a vector. */
const JOIN_LIMIT = 16 * 1024

export class GrpcStream implements ServerStream, MessageSink {
  /** Place in the connection's list of streams; kept by the connection. */
  slot = -1
  private readonly http2: ServerHttp2Stream
  private readonly owner: StreamOwner
  private readonly service: StreamService
  private readonly cutter: MessageCutter
  private handler: StreamHandler | undefined
  private deadline: NodeJS.Timeout | undefined

  private granted = 0
  private received = 0
  /** Bytes whose window went back to the peer. */
  private released = 0
  private reading = false
  /** Length of the DATA payload that is being taken: node counts it only when we return. */
  private taking = 0

  private firstPiece: Uint8Array | undefined
  private morePieces: Uint8Array[] | undefined
  private heldBytes = 0
  private onWritten: (() => void) | undefined
  /** Size of `pendingBytes` at which the connection's sum is looked at again. */
  private nextCapCheck: number

  private inCall = false
  private halfClosed = false
  /** `end` was called, by the service or for it. */
  private ended = false
  /** The end was handed to node. */
  private finished = false
  /** The service will not be called any more. */
  private silent = false
  /** The transport ended the stream during an upward call: the service hears of it when the call returns. */
  private owesReset = false
  private endStatus: GrpcStatus = GrpcStatus.OK
  private endMessage: string | undefined
  private refusesEncoding = false
  private peerEncodes = false

  constructor(http2: ServerHttp2Stream, owner: StreamOwner, service: StreamService, capCheckStep: number) {
    this.http2 = http2
    this.owner = owner
    this.service = service
    this.cutter = new MessageCutter(service.maxMessageBytes)
    this.nextCapCheck = capCheckStep
    const owned = http2 as OwnedStream
    owned[OWNER] = this
    owned.push = takeChunk
    owned.destroy = destroyCheaply
    owned.on('wantTrailers', sendTrailers)
    owned.on('close', streamClosed)
    owned.on('error', ignoreError)
  }

  /** `deadlineMs`: undefined = none. */
  start(headers: StreamHeaders, deadlineMs: number | undefined): void {
    const encoding = headers['grpc-encoding']
    this.peerEncodes = encoding !== undefined && encoding !== 'identity'
    // node keeps a timer's delay in 31 bits, and turns a longer one into 1 ms.
    if (deadlineMs !== undefined && deadlineMs < 0x7fffffff)
      this.deadline = setTimeout(deadlinePassed, deadlineMs, this)
    this.inCall = true
    try {
      this.handler = this.service.open(this, headers)
    } catch (error) {
      this.handlerFailed(error)
    }
    this.leave()
    this.takeEarly()
  }

  /** What came before node told us about the stream is in the Readable. */
  private takeEarly(): void {
    const http2 = this.http2 as OwnedStream
    const ended = http2._readableState.ended
    if (http2.readableLength > 0) {
      const bytes = http2.read() as Uint8Array | null
      // `read` has switched reading on and so given these bytes back.
      this.stopReading()
      if (bytes !== null) {
        this.released = bytes.length
        this.take(bytes)
      }
    }
    if (ended) this.peerFinished()
  }

  get pendingBytes(): number {
    return this.finished && this.http2.destroyed ? 0 : this.heldBytes + this.http2.writableLength
  }

  send(bytes: Uint8Array): void {
    if (this.ended || this.silent || bytes.length === 0) return
    if (this.firstPiece === undefined) this.firstPiece = bytes
    else if (this.morePieces === undefined) this.morePieces = [bytes]
    else this.morePieces.push(bytes)
    this.heldBytes += bytes.length
    this.guardPending()
    if (!this.inCall) this.flush()
  }

  end(status: GrpcStatus, message?: string): void {
    if (this.ended || this.silent) return
    this.ended = true
    this.silent = true
    this.endStatus = status
    this.endMessage = message
    if (!this.inCall) this.flush()
  }

  grant(bytes: number): void {
    if (this.ended || this.silent || !(bytes > 0)) return
    this.granted += bytes
    if (this.taking === 0) this.releaseIfGranted()
  }

  part(part: Uint8Array, remaining: number): boolean {
    this.handler!.data(part, remaining)
    return !this.silent
  }

  /** Ends the stream on the transport's own account. The service hears `RESET`. */
  fail(status: GrpcStatus, message: string): void {
    if (this.ended || this.silent) return
    this.ended = true
    this.endStatus = status
    this.endMessage = message
    if (this.inCall) {
      this.owesReset = true
      this.silent = true
      return
    }
    this.tell(StreamEnd.RESET)
    this.flush()
  }

  /** A DATA payload. */
  take(chunk: Uint8Array): void {
    this.received += chunk.length
    if (this.reading && (this.silent || this.received >= this.granted)) this.stopReading()
    if (this.silent) return
    this.taking = chunk.length
    this.inCall = true
    let result: CutResult = CutResult.STOPPED
    try {
      result = this.cutter.cut(chunk, this)
    } catch (error) {
      this.handlerFailed(error)
    }
    if (result > CutResult.STOPPED) this.refuseMessage(result)
    this.leave()
    this.taking = 0
    if (this.reading) this.released = this.received
    else this.releaseIfGranted()
  }

  /** END_STREAM. */
  peerFinished(): void {
    if (this.halfClosed) return
    this.halfClosed = true
    if (this.silent) return
    if (this.cutter.insideMessage) {
      this.fail(GrpcStatus.INTERNAL, 'the stream ended within a message')
      return
    }
    this.inCall = true
    try {
      this.handler?.closed(StreamEnd.HALF_CLOSED)
    } catch (error) {
      this.handlerFailed(error)
    }
    this.leave()
  }

  /** node is done with the stream. */
  over(): void {
    clearTimeout(this.deadline)
    this.owner.remove(this)
    this.ended = true
    this.finished = true
    this.dropPieces()
    this.tell(this.owner.lost ? StreamEnd.LOST : StreamEnd.RESET)
  }

  /** Tells a peer that goes on after the end to stop: NO_ERROR, as the gRPC specification asks. False: the end is still to be sent. */
  stopPeer(): boolean {
    if (this.http2.closed || this.http2.destroyed || this.halfClosed) return true
    if (this.pendingBytes > 0 || !this.http2.writableFinished) return false
    this.http2.close(constants.NGHTTP2_NO_ERROR)
    return true
  }

  sendTrailers(): void {
    if (this.http2.destroyed || this.http2.closed) return
    this.http2.sendTrailers(trailers(this.endStatus, this.endMessage))
  }

  /** The whole of what was pending is with the socket. */
  private written(): void {
    if (this.silent || this.pendingBytes > 0) return
    this.inCall = true
    try {
      this.handler!.drained!()
    } catch (error) {
      this.handlerFailed(error)
    }
    this.leave()
  }

  /** The end of every upward call: what the service said during it goes out. */
  private leave(): void {
    this.inCall = false
    if (this.owesReset) {
      this.owesReset = false
      this.silent = false
      this.tell(StreamEnd.RESET)
    }
    if (this.firstPiece !== undefined || this.ended) this.flush()
  }

  private tell(how: StreamEnd): void {
    if (this.silent) return
    this.silent = true
    this.inCall = true
    try {
      this.handler?.closed(how)
    } catch (error) {
      this.owner.handlerFailed(error, this.service.path)
    }
    this.inCall = false
  }

  private flush(): void {
    if (this.finished) return
    const http2 = this.http2
    if (http2.closed || http2.destroyed) {
      this.dropPieces()
      return
    }
    if (this.firstPiece !== undefined) {
      if (!http2.headersSent) http2.respond(ANSWER_HEAD, BODY_FOLLOWS)
      this.writePieces(this.firstPiece, this.morePieces)
      this.dropPieces()
    }
    if (this.ended) this.finish()
  }

  private writePieces(first: Uint8Array, more: Uint8Array[] | undefined): void {
    if (this.handler?.drained !== undefined) this.onWritten ??= () => this.written()
    if (more === undefined) {
      this.http2.write(first, this.onWritten)
      return
    }
    if (this.heldBytes <= JOIN_LIMIT) {
      const joined = Buffer.allocUnsafe(this.heldBytes)
      joined.set(first)
      let at = first.length
      for (const piece of more) {
        joined.set(piece, at)
        at += piece.length
      }
      this.http2.write(joined, this.onWritten)
      return
    }
    this.http2.cork()
    this.http2.write(first)
    const last = more.length - 1
    for (let i = 0; i < last; i++) this.http2.write(more[i])
    this.http2.write(more[last], this.onWritten)
    this.http2.uncork()
  }

  private finish(): void {
    this.finished = true
    clearTimeout(this.deadline)
    if (!this.halfClosed) {
      // Keeps node from sending its own RST_STREAM, in a packet of its own, right behind the trailers.
      this.http2.pause()
      this.owner.linger(this)
    }
    if (this.http2.headersSent) this.http2.end()
    else this.http2.respond(trailersOnly(this.endStatus, this.endMessage, this.refusesEncoding), HEADERS_ONLY)
  }

  private dropPieces(): void {
    this.firstPiece = undefined
    this.morePieces = undefined
    this.heldBytes = 0
  }

  /** A peer that does not read must not cost more memory than the caps say. */
  private guardPending(): void {
    const pending = this.pendingBytes
    if (pending > this.owner.maxStreamPendingBytes) this.reset()
    else if (pending > this.nextCapCheck) {
      this.nextCapCheck = pending + (this.nextCapCheck >>> 1)
      if (this.owner.overPendingCap()) this.reset()
    }
  }

  /** The service hears of it when node reports the close. */
  private reset(): void {
    this.ended = true
    this.finished = true
    this.dropPieces()
    this.http2.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }

  private refuseMessage(result: CutResult): void {
    if (result === CutResult.TOO_LARGE) {
      this.fail(GrpcStatus.RESOURCE_EXHAUSTED, `message is longer than ${this.service.maxMessageBytes} bytes`)
    } else if (result === CutResult.BAD_FLAG) {
      this.fail(GrpcStatus.INTERNAL, 'unknown flags in a message prefix')
    } else if (this.peerEncodes) {
      this.refusesEncoding = true
      this.fail(GrpcStatus.UNIMPLEMENTED, 'compressed messages are not accepted')
    } else {
      this.fail(GrpcStatus.INTERNAL, 'message is compressed but grpc-encoding names no compression')
    }
  }

  private handlerFailed(error: unknown): void {
    this.owner.handlerFailed(error, this.service.path)
    if (this.finished) return
    // What the failed call said does not go out, not even its end: half an answer could pass for a whole one.
    this.dropPieces()
    const serviceEnded = this.ended
    this.ended = false
    this.silent = false
    this.fail(GrpcStatus.INTERNAL, 'internal error')
    if (serviceEnded) this.owesReset = false
  }

  /**
   * Gives back what was withheld, when a grant covers some of it. Reading stays on until the next payload, so that the one that
   * is being taken counts too. Half a window is when nghttp2 tells the peer; earlier calls would only cost.
   */
  private releaseIfGranted(): void {
    if (this.granted <= this.released || this.received - this.released < this.owner.initialWindow >>> 1) return
    if (this.silent || this.http2.destroyed) return
    this.http2._read(0)
    this.reading = true
    this.released = this.received
  }

  private stopReading(): void {
    this.reading = false
    if (!this.http2.destroyed) this.http2.emit('pause')
  }
}

function takeChunk(this: OwnedStream, chunk: Uint8Array | null): boolean {
  const stream = this[OWNER]
  if (chunk !== null) {
    stream.take(chunk)
    // False would make node stop reading, which is `adjustReading`'s to decide.
    return true
  }
  // node also pushes the end when it tears a stream down; only an END_STREAM comes while it is open.
  if (!this.closed && !this.destroyed) stream.peerFinished()
  return Readable.prototype.push.call(this, null)
}

/**
 * For a reset, node makes an error with a stack trace: 25 µs for the way in which Envoy ends nearly every stream, and nobody reads
 * it. Giving it one that exists already keeps everything else as it is.
 */
const RESET_BY_PEER = new Error('the stream was reset')

function destroyCheaply(this: OwnedStream, error?: Error): OwnedStream {
  const reason = error ?? (this.rstCode === constants.NGHTTP2_NO_ERROR ? undefined : RESET_BY_PEER)
  return Duplex.prototype.destroy.call(this, reason) as OwnedStream
}

function sendTrailers(this: OwnedStream): void {
  this[OWNER].sendTrailers()
}

function streamClosed(this: OwnedStream): void {
  this[OWNER].over()
}

/** A reset is reported by `close`, which follows; without a listener the process would end. */
export function ignoreError(): void {}

function deadlinePassed(stream: GrpcStream): void {
  stream.fail(GrpcStatus.DEADLINE_EXCEEDED, 'deadline exceeded')
}
