import type { ConnectionLife } from './connection-life.ts'
import { FloodCost } from './flood-guard.ts'
import { ErrorCode, FrameType, Flag, MAX_WINDOW, readUint31 } from './frame.ts'
import type { StreamTable } from './stream-table.ts'
import { StreamEnd } from '../transport.ts'

const PING_BYTES = 8
const NOTHING = new Uint8Array(0)

/** What control frames need of their connection. */
export interface Controlled {
  readonly streams: StreamTable
  readonly life: ConnectionLife
  /** A connection error (RFC 9113 §5.4.1). */
  broken(code: ErrorCode, why: string): void
  /** Takes tokens of the peer's. False: the connection is over. */
  spend(cost: number): boolean
}

/** The frames that carry no part of a request: SETTINGS, PING, WINDOW_UPDATE, RST_STREAM, GOAWAY, PRIORITY (RFC 9113 §6). */
export class ControlFrames {
  readonly #connection: Controlled
  readonly #freeResets: boolean

  /** `freeResets`: a reset is not held against this peer. */
  constructor(connection: Controlled, freeResets: boolean) {
    this.#connection = connection
    this.#freeResets = freeResets
  }

  frame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case FrameType.RST_STREAM:
        return this.#peerReset(stream, end - start)
      case FrameType.WINDOW_UPDATE:
        return this.#windowUpdate(stream, bytes, start, end)
      case FrameType.SETTINGS:
        return this.#settings(flags, stream, bytes, start, end)
      case FrameType.PING:
        return this.#ping(flags, stream, bytes, start, end)
      case FrameType.GOAWAY:
        return this.#peerGoaway(stream, end - start)
      case FrameType.PRIORITY:
        return this.#priority(stream, bytes, start, end)
      case FrameType.PUSH_PROMISE:
        return this.#broken(ErrorCode.PROTOCOL_ERROR, 'clients push nothing')
      default:
        this.#spend(FloodCost.IDLE_FRAME)
    }
  }

  #peerReset(id: number, length: number): void {
    if (length !== 4) return this.#broken(ErrorCode.FRAME_SIZE_ERROR, 'RST_STREAM of the wrong size')
    if (id === 0 || id > this.#streams.lastId)
      return this.#broken(ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on an idle stream')
    const stream = this.#streams.get(id)
    if (stream === undefined) {
      // Envoy sends one right behind its END_STREAM.
      if (!this.#freeResets) this.#spend(FloodCost.IDLE_FRAME)
      return
    }
    if (!this.#freeResets && !stream.finished && !this.#spend(FloodCost.RESET)) return
    this.#streams.forget(stream, StreamEnd.RESET)
  }

  #windowUpdate(id: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) return this.#broken(ErrorCode.FRAME_SIZE_ERROR, 'WINDOW_UPDATE of the wrong size')
    const increment = readUint31(bytes, start)
    if (id === 0) {
      if (increment === 0) return this.#broken(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0')
      if (!this.#spendUpdate()) return
      if (!this.#streams.sender.widen(increment)) this.#broken(ErrorCode.FLOW_CONTROL_ERROR, 'window too large')
      return
    }
    if (id > this.#streams.lastId) return this.#broken(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream')
    const stream = this.#streams.get(id)
    if (!this.#spendUpdate() || stream === undefined) return
    if (increment === 0) return this.#streams.reset(id, ErrorCode.PROTOCOL_ERROR)
    stream.sendWindow += increment
    if (stream.sendWindow > MAX_WINDOW) return this.#streams.reset(id, ErrorCode.FLOW_CONTROL_ERROR)
    if (stream.queue.bytes > 0) this.#streams.sender.pump(stream)
  }

  #settings(flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (stream !== 0) return this.#broken(ErrorCode.PROTOCOL_ERROR, 'SETTINGS on a stream')
    this.#connection.life.greeted()
    if ((flags & Flag.ACK) !== 0) {
      if (start !== end) return this.#broken(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS ACK with a payload')
      this.#streams.settled = true
      return
    }
    if ((end - start) % 6 !== 0) return this.#broken(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS of the wrong size')
    if (!this.#spend(FloodCost.SETTINGS)) return
    const { peer } = this.#streams.sender
    const before = peer.initialWindow
    const error = peer.update(bytes, start, end)
    if (error !== undefined) return this.#broken(error, 'bad SETTINGS')
    this.#streams.sender.output.frame(FrameType.SETTINGS, Flag.ACK, 0, NOTHING)
    const change = peer.initialWindow - before
    if (change === 0) return
    // Every stream is touched: with thousands of them 18 bytes would buy half a millisecond.
    if (!this.#spend(this.#streams.size * FloodCost.IDLE_FRAME)) return
    if (!this.#streams.changeWindows(change)) this.#broken(ErrorCode.FLOW_CONTROL_ERROR, 'window too large')
  }

  #ping(flags: number, stream: number, bytes: Buffer, start: number, end: number): void {
    if (stream !== 0) return this.#broken(ErrorCode.PROTOCOL_ERROR, 'PING on a stream')
    if (end - start !== PING_BYTES) return this.#broken(ErrorCode.FRAME_SIZE_ERROR, 'PING of the wrong size')
    if ((flags & Flag.ACK) !== 0) return this.#connection.life.ponged(bytes[start]!)
    if (!this.#spend(FloodCost.PING)) return
    this.#streams.sender.output.frame(FrameType.PING, Flag.ACK, 0, bytes.subarray(start, end))
  }

  /** The client takes no streams of ours, which there never are. It may open more itself, and closes the connection when it has done. */
  #peerGoaway(stream: number, length: number): void {
    if (stream !== 0) return this.#broken(ErrorCode.PROTOCOL_ERROR, 'GOAWAY on a stream')
    if (length < 8) return this.#broken(ErrorCode.FRAME_SIZE_ERROR, 'GOAWAY of the wrong size')
    this.#connection.life.peerLeaves()
  }

  #priority(stream: number, bytes: Buffer, start: number, end: number): void {
    if (stream === 0) return this.#broken(ErrorCode.PROTOCOL_ERROR, 'PRIORITY without a stream')
    if (!this.#spend(FloodCost.IDLE_FRAME)) return
    const isLong = end - start === 5
    if (isLong && readUint31(bytes, start) !== stream) return
    const code = isLong ? ErrorCode.PROTOCOL_ERROR : ErrorCode.FRAME_SIZE_ERROR
    // An idle stream cannot be reset (§6.4).
    if (stream > this.#streams.lastId) this.#broken(code, 'malformed PRIORITY')
    else this.#streams.reset(stream, code)
  }

  /** Each DATA frame that we send may be answered by a WINDOW_UPDATE of its stream and one of the connection. */
  #spendUpdate(): boolean {
    return this.#streams.takeFreeUpdate() || this.#spend(FloodCost.IDLE_FRAME)
  }

  get #streams(): StreamTable {
    return this.#connection.streams
  }

  #broken(code: ErrorCode, why: string): void {
    this.#connection.broken(code, why)
  }

  #spend(cost: number): boolean {
    return this.#connection.spend(cost)
  }
}
