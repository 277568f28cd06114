/** One gRPC stream over a `node:http2` stream: the state between what node reports and what the service hears and says. */
import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import { endedEarly, hook } from './http2-hooks.ts'
import type { Http2Events } from './http2-hooks.ts'
import { Outbox } from './http2-outbox.ts'
import { ReceiveWindow } from './http2-receive-window.ts'
import { CutResult, MessageCutter } from './message-cutter.ts'
import type { MessageSink } from './message-cutter.ts'
import { ANSWER_HEAD, BODY_FOLLOWS, HEADERS_ONLY, trailers, trailersOnly } from './response-headers.ts'
import { refusalOf } from './message-refusal.ts'
import { GrpcStatus, StreamEnd } from './transport.ts'
import type { ServerStream, StreamHandler, StreamHeaders, StreamService } from './transport.ts'

/** Up to so many pending bytes, nobody is told when they are gone. */
const UNTOLD_BYTES = 16 * 1024

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

export class GrpcStream implements ServerStream, MessageSink, Http2Events {
  /** Place in the connection's list of streams; kept by the connection. */
  slot = -1
  private readonly http2: ServerHttp2Stream
  private readonly owner: StreamOwner
  private readonly service: StreamService
  private readonly cutter: MessageCutter
  private readonly window: ReceiveWindow
  private readonly outbox = new Outbox()
  private handler: StreamHandler | undefined
  private deadline: NodeJS.Timeout | undefined

  private onWritten: (() => void) | undefined
  /** Size of `pendingBytes` at which the connection's sum is looked at again. */
  private nextCapCheck: number

  private how: StreamEnd | undefined
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
    this.window = new ReceiveWindow(http2, owner.initialWindow)
    this.nextCapCheck = capCheckStep
    hook(http2, this)
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
    const { http2 } = this
    // Asked first: `read` brings the end about.
    const ended = endedEarly(http2)
    if (http2.readableLength > 0) {
      const bytes = http2.read() as Uint8Array | null
      this.window.readEarly(bytes?.length ?? 0)
      if (bytes !== null) this.take(bytes)
    }
    if (ended) this.peerFinished()
  }

  get pendingBytes(): number {
    return this.finished && this.http2.destroyed ? 0 : this.outbox.bytes + this.http2.writableLength
  }

  send(bytes: Uint8Array): void {
    if (this.ended || this.silent || bytes.length === 0) return
    this.outbox.add(bytes)
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
    if (!this.ended && !this.silent && bytes > 0) this.window.grant(bytes)
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

  take(chunk: Uint8Array): void {
    if (this.silent) return
    this.window.begin(chunk.length)
    this.inCall = true
    let result: CutResult = CutResult.STOPPED
    try {
      result = this.cutter.cut(chunk, this)
    } catch (error) {
      this.handlerFailed(error)
    }
    if (result > CutResult.STOPPED) this.refuseMessage(result)
    this.leave()
    if (this.silent) this.window.stop()
    else this.window.done()
  }

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

  /** A reset may be followed by the end of the connection in the same packet; it is a reset all the same. */
  ending(): void {
    this.how ??= this.owner.lost ? StreamEnd.LOST : StreamEnd.RESET
  }

  over(): void {
    clearTimeout(this.deadline)
    this.owner.remove(this)
    this.ended = true
    this.finished = true
    this.outbox.clear()
    this.tell(this.how ?? StreamEnd.RESET)
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
    if (this.ended || this.outbox.bytes > 0) this.flush()
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
      this.outbox.clear()
      return
    }
    if (this.outbox.bytes > 0) {
      if (!http2.headersSent) http2.respond(ANSWER_HEAD, BODY_FOLLOWS)
      // A callback costs a closure and a turn of the event loop, so small answers do without: see `StreamHandler.drained`.
      const tells = this.pendingBytes > UNTOLD_BYTES && this.handler?.drained !== undefined
      if (tells) this.onWritten ??= () => this.written()
      this.outbox.writeTo(http2, tells ? this.onWritten : undefined)
    }
    if (this.ended) this.finish()
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
    this.outbox.clear()
    this.http2.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }

  private refuseMessage(result: CutResult): void {
    const { status, message, refusesEncoding } = refusalOf(result, this.service.maxMessageBytes, this.peerEncodes)
    this.refusesEncoding = refusesEncoding
    this.fail(status, message)
  }

  private handlerFailed(error: unknown): void {
    this.owner.handlerFailed(error, this.service.path)
    if (this.finished) return
    // What the failed call said does not go out, not even its end: half an answer could pass for a whole one.
    this.outbox.clear()
    const serviceEnded = this.ended
    this.ended = false
    this.silent = false
    this.fail(GrpcStatus.INTERNAL, 'internal error')
    if (serviceEnded) this.owesReset = false
  }
}

function deadlinePassed(stream: GrpcStream): void {
  stream.fail(GrpcStatus.DEADLINE_EXCEEDED, 'deadline exceeded')
}
