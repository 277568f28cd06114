import { GrpcStatus, StreamEnd } from '../transport.ts'
import type { StreamService } from '../transport.ts'
import { ErrorCode, FrameType, INITIAL_WINDOW, MAX_WINDOW } from './frame.ts'
import type { ConnectionContext } from './h2-context.ts'
import { H2Stream } from './h2-stream.ts'
import type { StreamOwner } from './h2-stream.ts'
import { IdRing } from './id-ring.ts'
import { OpenStreams } from './open-streams.ts'
import { Sender } from './sender.ts'
import type { SenderOwner } from './sender.ts'
import type { Wire } from './wire.ts'

/** The connection's clock. */
const TICK_MS = 100
/** How long a client may take to end a stream that we have ended. Envoy resets it at once, so that our RST_STREAM is nearly always saved. */
const LINGER_TICKS = 2

/** What a table tells its connection. */
export interface TableOwner {
  /** The last stream is over. */
  emptied(): void
  /** The peer made us reset a stream. */
  madeUsReset(): void
}

/** The streams of one connection: which are open, how they end, and which of those that are over are remembered. */
export class StreamTable implements StreamOwner, SenderOwner {
  readonly sender: Sender
  readonly #context: ConnectionContext
  readonly #owner: TableOwner
  /** The highest id that the client has used. */
  lastId = 0
  /** Streams beyond this one are not served any more. */
  lastServed = MAX_WINDOW
  readonly #open = new OpenStreams()
  /** Streams that are over, and those that we have reset: late frames on the latter are no mistake. */
  readonly #closedIds = new IdRing(64)
  readonly #resetIds = new IdRing(1024)
  /** Our SETTINGS are in force at the peer: until then it goes by HTTP/2's own initial window. */
  settled = false
  #clock: NodeJS.Timeout | undefined
  #tick = 0
  #pendingBytes = 0
  /** WINDOW_UPDATEs that cost nothing. */
  #freeUpdates = 0

  constructor(wire: Wire, context: ConnectionContext, owner: TableOwner) {
    this.sender = new Sender(wire, this)
    this.#context = context
    this.#owner = owner
  }

  get size(): number {
    return this.#open.size
  }

  get(id: number): H2Stream | undefined {
    return this.#open.get(id)
  }

  /** True for a stream that we have reset lately. */
  wasReset(id: number): boolean {
    return this.#resetIds.has(id)
  }

  /** True for a stream that ended lately, however. */
  wasOpen(id: number): boolean {
    return this.#closedIds.has(id)
  }

  add(id: number, service: StreamService): H2Stream {
    const { initialWindow } = this.#context.own
    const receiveWindow = this.settled ? initialWindow : Math.max(initialWindow, INITIAL_WINDOW)
    const stream = new H2Stream(id, this, service, this.sender.peer.initialWindow, receiveWindow)
    this.#open.add(stream)
    return stream
  }

  /** The peer's initial window changed by so much. False: a window is larger now than HTTP/2 allows. */
  changeWindows(change: number): boolean {
    for (const stream of this.#open.all()) {
      stream.sendWindow += change
      if (stream.sendWindow > MAX_WINDOW) return false
    }
    if (change > 0) for (const stream of this.#open.all()) if (stream.queue.bytes > 0) this.sender.pump(stream)
    return true
  }

  /** RST_STREAM by us. */
  reset(id: number, code: ErrorCode): void {
    this.sender.output.number(FrameType.RST_STREAM, id, code)
    this.#resetIds.add(id)
    const stream = this.#open.get(id)
    if (stream !== undefined) this.forget(stream, StreamEnd.RESET)
    if (code !== ErrorCode.NO_ERROR) this.#owner.madeUsReset()
  }

  forget(stream: H2Stream, how: StreamEnd): void {
    stream.gone = true
    this.#open.delete(stream.id)
    this.#closedIds.add(stream.id)
    this.sender.forget(stream)
    stream.over(how)
    if (this.#open.size === 0) this.#owner.emptied()
  }

  /** The connection is gone, and every stream with it. */
  lose(): void {
    clearTimeout(this.#clock)
    for (const stream of this.#open.all()) this.forget(stream, StreamEnd.LOST)
  }

  /** Ends every open stream with UNAVAILABLE. */
  fail(): void {
    for (const stream of this.#open.all()) stream.fail(GrpcStatus.UNAVAILABLE, 'the server is shutting down')
  }

  pump(stream: H2Stream): void {
    this.sender.pump(stream)
  }

  widen(stream: H2Stream, bytes: number): void {
    if (stream.gone || stream.halfClosed) return
    const increment = Math.min(bytes, MAX_WINDOW - stream.receiveWindow)
    if (increment <= 0) return
    stream.receiveWindow += increment
    this.sender.output.number(FrameType.WINDOW_UPDATE, stream.id, increment)
    this.sender.schedule()
  }

  overPending(stream: H2Stream, by: number): boolean {
    this.#pendingBytes += by
    if (by <= 0) return false
    const { maxStreamPendingBytes, maxConnectionPendingBytes } = this.#context
    return stream.queue.bytes > maxStreamPendingBytes || this.#pendingBytes > maxConnectionPendingBytes
  }

  sent(bytes: number): void {
    this.#pendingBytes -= bytes
    this.#freeUpdates += 2
  }

  /** True: the WINDOW_UPDATE that came is a fair answer to DATA of ours. */
  takeFreeUpdate(): boolean {
    if (this.#freeUpdates === 0) return false
    this.#freeUpdates--
    return true
  }

  calm(stream: H2Stream): void {
    this.reset(stream.id, ErrorCode.ENHANCE_YOUR_CALM)
    this.sender.schedule()
  }

  handlerFailed(error: unknown, path: string): void {
    this.#context.handlerFailed(error, path)
  }

  sentEnd(stream: H2Stream): void {
    if (stream.halfClosed) this.forget(stream, StreamEnd.RESET)
    else {
      stream.finishedTick = this.#tick
      this.#startClock()
    }
  }

  hasDeadline(): void {
    this.#startClock()
  }

  #startClock(): void {
    this.#clock ??= setTimeout(() => this.#look(), TICK_MS)
  }

  /** Ends calls whose deadline has passed, and tells clients that go on after the end to stop: NO_ERROR, as the gRPC specification asks. */
  #look(): void {
    this.#clock = undefined
    this.#tick++
    const now = performance.now()
    let waits = false
    for (const stream of this.#open.all()) {
      if (!stream.finished) stream.checkDeadline(now)
      else if (this.#tick - stream.finishedTick >= LINGER_TICKS) this.reset(stream.id, ErrorCode.NO_ERROR)
      waits ||= stream.finished || stream.deadlineAt !== Number.POSITIVE_INFINITY
    }
    this.sender.schedule()
    if (waits) this.#startClock()
  }
}
