/**
 * One HTTP/2 connection of a client, server side (RFC 9113): frames in, streams, windows, frames out. What is decided here is which frame is
 * allowed when; sending is `sender.ts`, age and end are `connection-life.ts`, and what a call is `call-opener.ts`.
 *
 * Everything that streams say while a chunk of the socket is worked through leaves in one write at its end; what they say at other times
 * leaves together at the end of the tick.
 */
import type { ListenedConnection } from '../listener.ts'
import { GrpcStatus, StreamEnd } from '../transport.ts'
import type { StreamHeaders } from '../transport.ts'
import { openCall } from './call-opener.ts'
import { ConnectionLife } from './connection-life.ts'
import type { Living } from './connection-life.ts'
import { FloodCost, FloodGuard } from './flood-guard.ts'
import type { FloodLimits } from './flood-guard.ts'
import { ErrorCode, FrameType, Flag, INITIAL_WINDOW, MAX_WINDOW, readUint31 } from './frame.ts'
import { FrameReader } from './frame-reader.ts'
import type { FrameSink } from './frame-reader.ts'
import type { ConnectionContext } from './h2-context.ts'
import { H2Stream } from './h2-stream.ts'
import type { StreamOwner } from './h2-stream.ts'
import { HeaderBlock } from './header-block.ts'
import { HeaderResult, RequestHeaderDecoder } from './hpack/request-header-decoder.ts'
import { IdRing } from './id-ring.ts'
import { Sender } from './sender.ts'
import type { Wire } from './wire.ts'

/**
 * How long a client may take to end a stream that we have ended: two ticks at most. Envoy resets it at once, so that our RST_STREAM is
 * nearly always saved.
 */
const LINGER_TICK_MS = 100
/** Answers to a peer's control frames that it does not read. Streams stop earlier (`sender.ts`). */
const MAX_UNREAD_BYTES = 2 * 1024 * 1024
const PING_BYTES = 8
const MAX_FIELDS = 256

const now = (): number => performance.now()

export class H2Connection implements FrameSink, StreamOwner, Living, ListenedConnection {
  readonly #life = new ConnectionLife(this)
  readonly #context: ConnectionContext
  readonly #wire: Wire
  readonly #reader = new FrameReader(this)
  readonly #sender: Sender
  readonly #decoder: RequestHeaderDecoder
  readonly #block: HeaderBlock
  readonly #guard: FloodGuard
  readonly #freeResets: boolean
  readonly #streams = new Map<number, H2Stream>()
  /** The highest id that the client has used. */
  #lastId = 0
  /** Streams beyond this one are not served any more. */
  #lastServed = MAX_WINDOW
  /** What the peer may still send on all streams together. */
  #receiveWindow = INITIAL_WINDOW
  /** Received and not given back yet. */
  #received = 0
  /** Our SETTINGS are in force at the peer: until then it goes by HTTP/2's own initial window. */
  #settled = false
  /** The stream of the DATA frame under way; undefined: its bytes are thrown away. */
  #taking: H2Stream | undefined
  #takingEnd = false
  /** Streams that are over, and those that we have reset: late frames on the latter are no mistake. */
  readonly #closedIds = new IdRing(64)
  readonly #resetIds = new IdRing(1024)
  #lingerTimer: NodeJS.Timeout | undefined
  #tick = 0
  #peerLeaves = false
  #over = false
  #pendingBytes = 0
  /** WINDOW_UPDATEs that cost nothing. */
  #freeUpdates = 0

  /** `limits`: what this peer may do, by the trust it has. */
  constructor(wire: Wire, context: ConnectionContext, limits: FloodLimits) {
    this.#wire = wire
    this.#context = context
    this.#sender = new Sender(wire, this)
    this.#guard = new FloodGuard(limits, now())
    this.#freeResets = limits.freeResets
    this.#block = new HeaderBlock(context.own.maxHeaderListBytes)
    this.#decoder = new RequestHeaderDecoder({
      maxTableBytes: 4096,
      maxListBytes: context.own.maxHeaderListBytes,
      maxFields: MAX_FIELDS,
    })
    this.#sender.begin()
    this.#sender.output.raw(context.settings)
    const more = context.connectionWindow - INITIAL_WINDOW
    if (more > 0) this.#sender.output.number(FrameType.WINDOW_UPDATE, 0, more)
    this.#receiveWindow = Math.max(context.connectionWindow, INITIAL_WINDOW)
    this.#sender.flush()
  }

  get streamCount(): number {
    return this.#streams.size
  }

  /** Bytes of the socket, lent for the call. */
  receive(chunk: Buffer): void {
    if (this.#over) return
    this.#sender.begin()
    this.#reader.read(chunk)
    this.#sender.flush(chunk.buffer)
    if (this.#wire.pendingBytes > MAX_UNREAD_BYTES) this.#giveUp('the peer does not read')
  }

  /** The socket has taken everything that was pending. */
  writable(): void {
    if (this.#over) return
    this.#sender.begin()
    this.#sender.resume()
    this.#sender.flush()
  }

  /** The socket is closed. */
  lost(): void {
    if (this.#over) return
    this.#over = true
    this.#reader.stop()
    clearTimeout(this.#lingerTimer)
    this.#life.over()
    for (const stream of this.#streams.values()) this.#forget(stream, StreamEnd.LOST)
    this.#context.connectionEnded(this)
  }

  // Frames

  frame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (this.#block.openFor !== 0 && (type !== FrameType.CONTINUATION || stream !== this.#block.openFor))
      return this.broken(ErrorCode.PROTOCOL_ERROR, 'a header block was interrupted')
    switch (type) {
      case FrameType.HEADERS:
        return this.#headers(flags, stream, bytes, start, end)
      case FrameType.RST_STREAM:
        return this.#peerReset(stream, end - start)
      case FrameType.WINDOW_UPDATE:
        return this.#windowUpdate(stream, bytes, start, end)
      case FrameType.SETTINGS:
        return this.#settings(flags, stream, bytes, start, end)
      case FrameType.PING:
        return this.#ping(flags, stream, bytes, start, end)
      case FrameType.CONTINUATION:
        return this.#continuation(flags, stream, bytes, start, end)
      case FrameType.GOAWAY:
        return this.#peerGoaway(stream, end - start)
      case FrameType.PRIORITY:
        return this.#priority(stream, bytes, start, end)
      case FrameType.PUSH_PROMISE:
        return this.broken(ErrorCode.PROTOCOL_ERROR, 'clients push nothing')
      default:
        this.#spend(FloodCost.IDLE_FRAME)
    }
  }

  dataBegins(id: number, flags: number, length: number): void {
    if (this.#block.openFor !== 0) return this.broken(ErrorCode.PROTOCOL_ERROR, 'a header block was interrupted')
    this.#receiveWindow -= length
    if (this.#receiveWindow < 0) return this.broken(ErrorCode.FLOW_CONTROL_ERROR, 'connection window exceeded')
    this.#received += length
    // The connection's window never stalls anybody: each stream has its own, and they are what bounds memory.
    if (this.#received >= this.#context.connectionWindow >>> 1) {
      this.#sender.output.number(FrameType.WINDOW_UPDATE, 0, this.#received)
      this.#receiveWindow += this.#received
      this.#received = 0
    }
    const stream = this.#streams.get(id)
    this.#taking = undefined
    this.#takingEnd = (flags & Flag.END_STREAM) !== 0
    if (stream === undefined) return this.#strayData(id)
    if (stream.halfClosed) return this.#reset(id, ErrorCode.STREAM_CLOSED)
    stream.receiveWindow -= length
    if (stream.receiveWindow < 0) return this.#reset(id, ErrorCode.FLOW_CONTROL_ERROR)
    this.#taking = stream
    // What is no data of the frame (padding) is known when the frame ends.
    this.#frameLength = length
    this.#frameOverhead = length
  }

  #frameLength = 0
  #frameOverhead = 0

  dataPart(bytes: Buffer, start: number, end: number): void {
    const stream = this.#taking
    if (stream === undefined) return
    this.#frameOverhead -= end - start
    if (stream.announced >= 0) {
      stream.announced -= end - start
      if (stream.announced < 0) return this.#reset(stream.id, ErrorCode.PROTOCOL_ERROR)
    }
    stream.take(bytes, start, end)
  }

  dataEnds(): void {
    const stream = this.#taking
    this.#taking = undefined
    if (stream === undefined || stream.gone) return
    // Nothing, or nothing but padding.
    if (this.#frameOverhead === this.#frameLength && !this.#takingEnd && !this.#spend(FloodCost.IDLE_FRAME)) return
    if (this.#frameOverhead > 0) stream.addOverhead(this.#frameOverhead)
    if (this.#takingEnd) this.#peerFinished(stream)
  }

  /** A connection error (RFC 9113 §5.4.1). */
  broken(code: ErrorCode, why: string): void {
    if (this.#over) return
    this.#reader.stop()
    this.#sender.output.goaway(this.#lastId, code, why)
    this.#sender.flush()
    this.#context.connectionFailed(why)
    this.#wire.end()
    this.lost()
  }

  #headers(flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if ((stream & 1) === 0) return this.broken(ErrorCode.PROTOCOL_ERROR, 'clients use odd stream ids')
    const error = this.#block.begin(stream, flags, bytes, start, end)
    if (error !== undefined) return this.broken(error, 'malformed HEADERS')
    if (this.#block.openFor === 0) this.#blockEnds(stream)
  }

  #continuation(flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (this.#block.openFor === 0) return this.broken(ErrorCode.PROTOCOL_ERROR, 'CONTINUATION without HEADERS')
    const error = this.#block.append(flags, bytes, start, end)
    if (error !== undefined) return this.broken(error, 'header block too long')
    if (this.#block.openFor === 0) this.#blockEnds(stream)
  }

  /** Every block is decoded, or the header tables would fall out of step. */
  #blockEnds(id: number): void {
    const { bytes, start, end } = this.#block
    const stream = this.#streams.get(id)
    const isNew = stream === undefined && id > this.#lastId
    const result = isNew
      ? this.#decoder.decodeRequest(bytes, start, end)
      : this.#decoder.decodeTrailers(bytes, start, end)
    this.#block.clear()
    if (result === HeaderResult.COMPRESSION_ERROR)
      return this.broken(ErrorCode.COMPRESSION_ERROR, 'malformed header block')
    if (isNew) return this.#newStream(id, result)
    if (stream !== undefined) return this.#trailers(stream, result)
    if (this.#resetIds.has(id) || id > this.#lastServed) {
      this.#spend(FloodCost.IDLE_FRAME)
      return
    }
    if (this.#closedIds.has(id)) return this.broken(ErrorCode.STREAM_CLOSED, 'HEADERS on a closed stream')
    this.broken(ErrorCode.PROTOCOL_ERROR, 'stream ids must grow')
  }

  #newStream(id: number, result: HeaderResult): void {
    this.#lastId = id
    if (id > this.#lastServed) return
    if (result === HeaderResult.MALFORMED || this.#block.dependsOnItself)
      return this.#reset(id, ErrorCode.PROTOCOL_ERROR)
    if (result === HeaderResult.TOO_LARGE) return this.#reset(id, ErrorCode.ENHANCE_YOUR_CALM)
    const { own } = this.#context
    if (this.#streams.size >= own.maxConcurrentStreams) return this.#reset(id, ErrorCode.REFUSED_STREAM)
    const { headers } = this.#decoder
    const call = openCall(headers, this.#context.services)
    const receiveWindow = this.#settled ? own.initialWindow : Math.max(own.initialWindow, INITIAL_WINDOW)
    const stream = new H2Stream(id, this, call.service, this.#sender.peer.initialWindow, receiveWindow)
    this.#streams.set(id, stream)
    stream.announced = announcedLength(headers)
    const { endStream } = this.#block
    if (call.refusal === undefined) stream.start(headers, call.deadlineMs)
    else {
      stream.refuse(call.text)
      this.#sender.refuse(stream, call.refusal)
    }
    if (endStream && !stream.gone) this.#peerFinished(stream)
  }

  #trailers(stream: H2Stream, result: HeaderResult): void {
    if (stream.halfClosed) return this.#reset(stream.id, ErrorCode.STREAM_CLOSED)
    if (!this.#block.endStream || result === HeaderResult.MALFORMED || this.#block.dependsOnItself)
      return this.#reset(stream.id, ErrorCode.PROTOCOL_ERROR)
    if (result === HeaderResult.TOO_LARGE) return this.#reset(stream.id, ErrorCode.ENHANCE_YOUR_CALM)
    this.#peerFinished(stream)
  }

  #peerFinished(stream: H2Stream): void {
    if (stream.announced > 0) return this.#reset(stream.id, ErrorCode.PROTOCOL_ERROR)
    stream.peerFinished()
    if (stream.finished) this.#forget(stream, StreamEnd.RESET)
  }

  #peerReset(id: number, length: number): void {
    if (length !== 4) return this.broken(ErrorCode.FRAME_SIZE_ERROR, 'RST_STREAM of the wrong size')
    if (id === 0 || id > this.#lastId) return this.broken(ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on an idle stream')
    const stream = this.#streams.get(id)
    if (stream === undefined) {
      // Envoy sends one right behind its END_STREAM.
      if (!this.#freeResets) this.#spend(FloodCost.IDLE_FRAME)
      return
    }
    if (!this.#freeResets && !stream.finished && !this.#spend(FloodCost.RESET)) return
    this.#forget(stream, StreamEnd.RESET)
  }

  #windowUpdate(id: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) return this.broken(ErrorCode.FRAME_SIZE_ERROR, 'WINDOW_UPDATE of the wrong size')
    const increment = readUint31(bytes, start)
    if (id === 0) {
      if (increment === 0) return this.broken(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0')
      if (!this.#spendUpdate()) return
      if (!this.#sender.widen(increment)) this.broken(ErrorCode.FLOW_CONTROL_ERROR, 'window too large')
      return
    }
    if (id > this.#lastId) return this.broken(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream')
    const stream = this.#streams.get(id)
    if (!this.#spendUpdate() || stream === undefined) return
    if (increment === 0) return this.#reset(id, ErrorCode.PROTOCOL_ERROR)
    stream.sendWindow += increment
    if (stream.sendWindow > MAX_WINDOW) return this.#reset(id, ErrorCode.FLOW_CONTROL_ERROR)
    if (stream.queue.bytes > 0) this.#sender.pump(stream)
  }

  #settings(flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (stream !== 0) return this.broken(ErrorCode.PROTOCOL_ERROR, 'SETTINGS on a stream')
    if ((flags & Flag.ACK) !== 0) {
      if (start !== end) return this.broken(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS ACK with a payload')
      this.#settled = true
      return
    }
    if ((end - start) % 6 !== 0) return this.broken(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS of the wrong size')
    if (!this.#spend(FloodCost.SETTINGS)) return
    const { peer } = this.#sender
    const before = peer.initialWindow
    const error = peer.update(bytes, start, end)
    if (error !== undefined) return this.broken(error, 'bad SETTINGS')
    this.#sender.output.frame(FrameType.SETTINGS, Flag.ACK, 0, NOTHING)
    const change = peer.initialWindow - before
    if (change === 0) return
    for (const each of this.#streams.values()) {
      each.sendWindow += change
      if (each.sendWindow > MAX_WINDOW) return this.broken(ErrorCode.FLOW_CONTROL_ERROR, 'window too large')
    }
    if (change < 0) return
    for (const each of this.#streams.values()) if (each.queue.bytes > 0) this.#sender.pump(each)
  }

  #ping(flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (stream !== 0) return this.broken(ErrorCode.PROTOCOL_ERROR, 'PING on a stream')
    if (end - start !== PING_BYTES) return this.broken(ErrorCode.FRAME_SIZE_ERROR, 'PING of the wrong size')
    if ((flags & Flag.ACK) !== 0) return this.#life.ponged(bytes[start]!)
    if (!this.#spend(FloodCost.PING)) return
    this.#sender.output.frame(FrameType.PING, Flag.ACK, 0, bytes.subarray(start, end))
  }

  /** The client leaves: its open streams go on to their end. */
  #peerGoaway(stream: number, length: number): void {
    if (stream !== 0) return this.broken(ErrorCode.PROTOCOL_ERROR, 'GOAWAY on a stream')
    if (length < 8) return this.broken(ErrorCode.FRAME_SIZE_ERROR, 'GOAWAY of the wrong size')
    this.#peerLeaves = true
    if (this.#streams.size === 0) this.finish()
  }

  #priority(stream: number, bytes: Buffer, start: number, end: number): void {
    if (stream === 0) return this.broken(ErrorCode.PROTOCOL_ERROR, 'PRIORITY without a stream')
    if (!this.#spend(FloodCost.IDLE_FRAME)) return
    const isLong = end - start === 5
    if (isLong && readUint31(bytes, start) !== stream) return
    const code = isLong ? ErrorCode.PROTOCOL_ERROR : ErrorCode.FRAME_SIZE_ERROR
    // An idle stream cannot be reset (§6.4).
    if (stream > this.#lastId) this.broken(code, 'malformed PRIORITY')
    else this.#reset(stream, code)
  }

  #strayData(id: number): void {
    if (id === 0 || id > this.#lastId || (id & 1) === 0)
      return this.broken(ErrorCode.PROTOCOL_ERROR, 'DATA on an idle stream')
    if (!this.#spend(FloodCost.IDLE_FRAME)) return
    if (!this.#resetIds.has(id) && id <= this.#lastServed) this.#reset(id, ErrorCode.STREAM_CLOSED)
  }

  // Streams

  pump(stream: H2Stream): void {
    this.#sender.pump(stream)
  }

  widen(stream: H2Stream, bytes: number): void {
    if (stream.gone || stream.halfClosed) return
    const increment = Math.min(bytes, MAX_WINDOW - stream.receiveWindow)
    if (increment <= 0) return
    stream.receiveWindow += increment
    this.#sender.output.number(FrameType.WINDOW_UPDATE, stream.id, increment)
    this.#sender.schedule()
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

  calm(stream: H2Stream): void {
    this.#reset(stream.id, ErrorCode.ENHANCE_YOUR_CALM)
    this.#sender.schedule()
  }

  handlerFailed(error: unknown, path: string): void {
    this.#context.handlerFailed(error, path)
  }

  sentEnd(stream: H2Stream): void {
    if (stream.halfClosed) this.#forget(stream, StreamEnd.RESET)
    else {
      stream.finishedTick = this.#tick
      this.#lingerTimer ??= setTimeout(() => this.#linger(), LINGER_TICK_MS)
    }
  }

  /** Tells clients that go on after the end to stop: NO_ERROR, as the gRPC specification asks. */
  #linger(): void {
    this.#lingerTimer = undefined
    this.#tick++
    let left = false
    for (const stream of this.#streams.values()) {
      if (!stream.finished) continue
      if (this.#tick - stream.finishedTick >= 2) this.#reset(stream.id, ErrorCode.NO_ERROR)
      else left = true
    }
    this.#sender.schedule()
    if (left) this.#lingerTimer = setTimeout(() => this.#linger(), LINGER_TICK_MS)
  }

  #reset(id: number, code: ErrorCode): void {
    this.#sender.output.number(FrameType.RST_STREAM, id, code)
    this.#resetIds.add(id)
    const stream = this.#streams.get(id)
    if (stream !== undefined) this.#forget(stream, StreamEnd.RESET)
    // Who makes us reset its streams loses us as much work as who resets them.
    if (code !== ErrorCode.NO_ERROR && !this.#freeResets) this.#spend(FloodCost.RESET)
  }

  #forget(stream: H2Stream, how: StreamEnd): void {
    stream.gone = true
    this.#streams.delete(stream.id)
    this.#closedIds.add(stream.id)
    this.#sender.forget(stream)
    stream.over(how)
    if (this.#streams.size > 0 || this.#over) return
    this.#life.idle()
    if (this.#peerLeaves) this.finish()
  }

  /** False: the connection is over. */
  #spend(cost: number): boolean {
    if (this.#guard.spend(cost, now)) return true
    this.broken(ErrorCode.ENHANCE_YOUR_CALM, 'too many frames that ask for nothing')
    return false
  }

  /** Each DATA frame that we send may be answered by a WINDOW_UPDATE of its stream and one of the connection. */
  #spendUpdate(): boolean {
    if (this.#freeUpdates === 0) return this.#spend(FloodCost.IDLE_FRAME)
    this.#freeUpdates--
    return true
  }

  #giveUp(why: string): void {
    this.#context.connectionFailed(why)
    this.destroy()
  }

  // Life

  retire(graceMs: number): void {
    this.#life.retire(graceMs)
  }

  limitAge(ageMs: number, graceMs: number): void {
    this.#life.limitAge(ageMs, graceMs)
  }

  retireIfIdle(idleMs: number): void {
    this.#life.retireIfIdle(idleMs)
  }

  probe(): void {
    this.#life.probe()
  }

  goaway(final: boolean): void {
    if (final) this.#lastServed = this.#lastId
    this.#sender.output.goaway(final ? this.#lastId : MAX_WINDOW, ErrorCode.NO_ERROR, '')
    this.#sender.schedule()
  }

  ping(mark: number): void {
    const payload = new Uint8Array(PING_BYTES)
    payload[0] = mark
    this.#sender.output.frame(FrameType.PING, 0, 0, payload)
    this.#sender.schedule()
  }

  failStreams(): void {
    for (const stream of this.#streams.values()) stream.fail(GrpcStatus.UNAVAILABLE, 'the server is shutting down')
  }

  finish(): void {
    // Streams that are opened behind a GOAWAY could not be answered any more.
    this.#reader.stop()
    this.#sender.flush()
    this.#wire.end()
  }

  destroy(): void {
    this.#wire.destroy()
    this.lost()
  }
}

const NOTHING = new Uint8Array(0)

/** gRPC clients announce nothing. */
function announcedLength(headers: StreamHeaders): number {
  const length = headers['content-length']
  return length === undefined ? -1 : Number(length)
}
