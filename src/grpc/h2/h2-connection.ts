/**
 * One HTTP/2 connection of a client, server side (RFC 9113): requests and their data, and what is allowed when. Its other parts: `control-frames.ts`,
 * `stream-table.ts`, `sender.ts` (what goes out, and when), `connection-life.ts` (age and end), `call-opener.ts` (what a call is).
 *
 * Everything that streams say while a chunk of the socket is worked through leaves in one write at its end; what they say at other times
 * leaves together at the end of the tick.
 */
import type { ListenedConnection } from '../listener.ts'
import { StreamEnd } from '../transport.ts'
import type { StreamHeaders } from '../transport.ts'
import { CallOpener } from './call-opener.ts'
import { ConnectionLife } from './connection-life.ts'
import type { Living } from './connection-life.ts'
import { ControlFrames } from './control-frames.ts'
import type { Controlled } from './control-frames.ts'
import { FloodCost, FloodGuard } from './flood-guard.ts'
import type { FloodLimits } from './flood-guard.ts'
import { ErrorCode, FrameType, Flag, INITIAL_WINDOW, MAX_WINDOW } from './frame.ts'
import { FrameReader } from './frame-reader.ts'
import type { FrameSink } from './frame-reader.ts'
import type { ConnectionContext } from './h2-context.ts'
import type { H2Stream } from './h2-stream.ts'
import { HeaderBlock } from './header-block.ts'
import { HeaderResult, RequestHeaderDecoder } from './hpack/request-header-decoder.ts'
import { StreamTable } from './stream-table.ts'
import type { TableOwner } from './stream-table.ts'
import type { Wire } from './wire.ts'

/** Answers to a peer's control frames that it does not read. Streams stop earlier (`sender.ts`). */
const MAX_UNREAD_BYTES = 2 * 1024 * 1024
const PING_BYTES = 8
const MAX_FIELDS = 256

const now = (): number => performance.now()

export class H2Connection implements FrameSink, TableOwner, Controlled, Living, ListenedConnection {
  readonly life = new ConnectionLife(this)
  readonly streams: StreamTable
  readonly #context: ConnectionContext
  readonly #wire: Wire
  readonly #reader = new FrameReader(this)
  readonly #control: ControlFrames
  readonly #decoder: RequestHeaderDecoder
  readonly #opener: CallOpener
  readonly #block: HeaderBlock
  readonly #guard: FloodGuard
  readonly #freeResets: boolean
  /** What the peer may still send on all streams together. */
  #receiveWindow = INITIAL_WINDOW
  /** Received and not given back yet. */
  #received = 0
  /** The stream of the DATA frame under way; undefined: its bytes are thrown away. */
  #taking: H2Stream | undefined
  #takingEnd = false
  #frameLength = 0
  /** Bytes of the frame under way that are no data. */
  #frameOverhead = 0
  #over = false

  /** `limits`: what this peer may do, by the trust it has. */
  constructor(wire: Wire, context: ConnectionContext, limits: FloodLimits) {
    this.#wire = wire
    this.#context = context
    this.streams = new StreamTable(wire, context, this)
    this.#guard = new FloodGuard(limits, now())
    this.#freeResets = limits.freeResets
    this.#control = new ControlFrames(this, limits.freeResets)
    this.#block = new HeaderBlock(context.own.maxHeaderListBytes)
    this.#decoder = new RequestHeaderDecoder({
      maxTableBytes: 4096,
      maxListBytes: context.own.maxHeaderListBytes,
      maxFields: MAX_FIELDS,
    })
    this.#opener = new CallOpener(context.services)
    this.life.awaitPreface(context.prefaceMs)
    this.streams.sender.begin()
    this.streams.sender.output.raw(context.settings)
    const more = context.connectionWindow - INITIAL_WINDOW
    if (more > 0) this.streams.sender.output.number(FrameType.WINDOW_UPDATE, 0, more)
    this.#receiveWindow = Math.max(context.connectionWindow, INITIAL_WINDOW)
    this.streams.sender.flush()
  }

  get streamCount(): number {
    return this.streams.size
  }

  /** Bytes of the socket, lent for the call. */
  receive(chunk: Buffer): void {
    if (this.#over) return
    this.streams.sender.begin()
    this.#reader.read(chunk)
    this.streams.sender.flush(chunk.buffer)
    if (this.#wire.pendingBytes > MAX_UNREAD_BYTES) this.#giveUp('the peer does not read')
  }

  /** The socket has taken everything that was pending. */
  writable(): void {
    if (this.#over) return
    this.streams.sender.begin()
    this.streams.sender.resume()
    this.streams.sender.flush()
  }

  /** The socket is closed. */
  lost(): void {
    if (this.#over) return
    this.#over = true
    this.#reader.stop()
    this.life.over()
    this.streams.lose()
    this.#context.connectionEnded(this)
  }

  // Frames

  frame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (this.#block.openFor !== 0 && (type !== FrameType.CONTINUATION || stream !== this.#block.openFor))
      return this.broken(ErrorCode.PROTOCOL_ERROR, 'a header block was interrupted')
    switch (type) {
      case FrameType.HEADERS:
        return this.#headers(flags, stream, bytes, start, end)
      case FrameType.CONTINUATION:
        return this.#continuation(flags, stream, bytes, start, end)
      default:
        this.#control.frame(type, flags, stream, bytes, start, end)
    }
  }

  dataBegins(id: number, flags: number, length: number): void {
    if (this.#block.openFor !== 0) return this.broken(ErrorCode.PROTOCOL_ERROR, 'a header block was interrupted')
    this.#receiveWindow -= length
    if (this.#receiveWindow < 0) return this.broken(ErrorCode.FLOW_CONTROL_ERROR, 'connection window exceeded')
    this.#received += length
    // The connection's window never stalls anybody: each stream has its own, and they are what bounds memory.
    if (this.#received >= this.#context.connectionWindow >>> 1) {
      this.streams.sender.output.number(FrameType.WINDOW_UPDATE, 0, this.#received)
      this.#receiveWindow += this.#received
      this.#received = 0
    }
    const stream = this.streams.get(id)
    this.#taking = undefined
    this.#takingEnd = (flags & Flag.END_STREAM) !== 0
    if (stream === undefined) return this.#strayData(id)
    if (stream.halfClosed) return this.streams.reset(id, ErrorCode.STREAM_CLOSED)
    stream.receiveWindow -= length
    if (stream.receiveWindow < 0) return this.streams.reset(id, ErrorCode.FLOW_CONTROL_ERROR)
    this.#taking = stream
    // What is no data of the frame (padding) is known when the frame ends.
    this.#frameLength = length
    this.#frameOverhead = length
  }

  dataPart(bytes: Buffer, start: number, end: number): void {
    const stream = this.#taking
    if (stream === undefined || stream.gone) return
    this.#frameOverhead -= end - start
    if (stream.announced >= 0) {
      stream.announced -= end - start
      if (stream.announced < 0) return this.streams.reset(stream.id, ErrorCode.PROTOCOL_ERROR)
    }
    stream.take(bytes, start, end)
  }

  dataEnds(): void {
    const stream = this.#taking
    this.#taking = undefined
    if (stream === undefined || stream.gone) return
    // Nothing, or nothing but padding.
    if (this.#frameOverhead === this.#frameLength && !this.#takingEnd && !this.spend(FloodCost.IDLE_FRAME)) return
    if (this.#frameOverhead > 0) stream.addOverhead(this.#frameOverhead)
    if (this.#takingEnd) this.#peerFinished(stream)
  }

  /** A connection error (RFC 9113 §5.4.1). */
  broken(code: ErrorCode, why: string): void {
    if (this.#over) return
    this.#reader.stop()
    this.streams.sender.output.goaway(this.streams.lastId, code, why)
    this.streams.sender.flush()
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
    const stream = this.streams.get(id)
    const isNew = stream === undefined && id > this.streams.lastId
    const result = isNew
      ? this.#decoder.decodeRequest(bytes, start, end)
      : this.#decoder.decodeTrailers(bytes, start, end)
    this.#block.clear()
    if (result === HeaderResult.COMPRESSION_ERROR)
      return this.broken(ErrorCode.COMPRESSION_ERROR, 'malformed header block')
    if (isNew) return this.#newStream(id, result)
    if (stream !== undefined) return this.#trailers(stream, result)
    if (this.streams.wasReset(id) || id > this.streams.lastServed) {
      this.spend(FloodCost.IDLE_FRAME)
      return
    }
    if (this.streams.wasOpen(id)) return this.broken(ErrorCode.STREAM_CLOSED, 'HEADERS on a closed stream')
    this.broken(ErrorCode.PROTOCOL_ERROR, 'stream ids must grow')
  }

  #newStream(id: number, result: HeaderResult): void {
    this.streams.lastId = id
    if (id > this.streams.lastServed) return
    if (result === HeaderResult.MALFORMED || this.#block.dependsOnItself)
      return this.streams.reset(id, ErrorCode.PROTOCOL_ERROR)
    if (result === HeaderResult.TOO_LARGE) return this.streams.reset(id, ErrorCode.ENHANCE_YOUR_CALM)
    const { own } = this.#context
    if (this.streams.size >= own.maxConcurrentStreams) return this.streams.reset(id, ErrorCode.REFUSED_STREAM)
    const { headers, timeout } = this.#decoder
    const call = this.#opener.open(headers, timeout)
    const stream = this.streams.add(id, call.service)
    stream.announced = announcedLength(headers)
    const { endStream } = this.#block
    if (call.refusal === undefined) stream.start(headers, this.#opener.deadlineMs)
    else {
      stream.refuse(call.text)
      this.streams.sender.refuse(stream, call.refusal)
    }
    if (endStream && !stream.gone) this.#peerFinished(stream)
  }

  #trailers(stream: H2Stream, result: HeaderResult): void {
    if (stream.halfClosed) return this.streams.reset(stream.id, ErrorCode.STREAM_CLOSED)
    if (!this.#block.endStream || result === HeaderResult.MALFORMED || this.#block.dependsOnItself)
      return this.streams.reset(stream.id, ErrorCode.PROTOCOL_ERROR)
    if (result === HeaderResult.TOO_LARGE) return this.streams.reset(stream.id, ErrorCode.ENHANCE_YOUR_CALM)
    this.#peerFinished(stream)
  }

  #peerFinished(stream: H2Stream): void {
    if (stream.announced > 0) return this.streams.reset(stream.id, ErrorCode.PROTOCOL_ERROR)
    stream.peerFinished()
    if (stream.finished) this.streams.forget(stream, StreamEnd.RESET)
  }

  #strayData(id: number): void {
    if (id === 0 || id > this.streams.lastId || (id & 1) === 0)
      return this.broken(ErrorCode.PROTOCOL_ERROR, 'DATA on an idle stream')
    if (!this.spend(FloodCost.IDLE_FRAME)) return
    if (!this.streams.wasReset(id) && id <= this.streams.lastServed) this.streams.reset(id, ErrorCode.STREAM_CLOSED)
  }

  /** It loses us as much work as one that resets them. */
  madeUsReset(): void {
    if (!this.#freeResets) this.spend(FloodCost.RESET)
  }

  emptied(): void {
    if (!this.#over) this.life.idle()
  }

  spend(cost: number): boolean {
    if (this.#guard.spend(cost, now)) return true
    this.broken(ErrorCode.ENHANCE_YOUR_CALM, 'too many frames that ask for nothing')
    return false
  }

  #giveUp(why: string): void {
    this.#context.connectionFailed(why)
    this.destroy()
  }

  // Life

  retire(graceMs: number): void {
    this.life.retire(graceMs)
  }

  limitAge(ageMs: number, graceMs: number): void {
    this.life.limitAge(ageMs, graceMs)
  }

  retireIfIdle(idleMs: number): void {
    this.life.retireIfIdle(idleMs)
  }

  probe(): void {
    this.life.probe()
  }

  goaway(final: boolean): void {
    if (final) this.streams.lastServed = this.streams.lastId
    this.streams.sender.output.goaway(final ? this.streams.lastId : MAX_WINDOW, ErrorCode.NO_ERROR, '')
    this.streams.sender.schedule()
  }

  ping(mark: number): void {
    const payload = new Uint8Array(PING_BYTES)
    payload[0] = mark
    this.streams.sender.output.frame(FrameType.PING, 0, 0, payload)
    this.streams.sender.schedule()
  }

  failStreams(): void {
    this.streams.fail()
  }

  finish(): void {
    // Streams that are opened behind a GOAWAY could not be answered any more.
    this.#reader.stop()
    this.streams.sender.flush()
    this.#wire.end()
  }

  destroy(): void {
    this.#wire.destroy()
    this.lost()
  }
}

/** gRPC clients announce nothing. */
function announcedLength(headers: StreamHeaders): number {
  const length = headers['content-length']
  return length === undefined ? -1 : Number(length)
}
