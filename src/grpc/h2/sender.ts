import { ANSWER_HEAD, trailersBlock, trailersOnlyBlock } from './answer-blocks.ts'
import { FrameType, Flag, INITIAL_WINDOW, MAX_WINDOW } from './frame.ts'
import type { H2Stream } from './h2-stream.ts'
import { Output } from './output.ts'
import { PeerSettings } from './settings.ts'
import type { Wire } from './wire.ts'

/** Beyond so many bytes that the socket has not taken, streams wait. */
const SOCKET_BYTES = 256 * 1024
/** What one waiting stream sends before it is the next one's turn. */
const QUANTUM = 64 * 1024
/** Longest DATA frame that we send, whatever the peer would take: others want their turn. */
const MAX_DATA_BYTES = 64 * 1024

/** Streams that are over and still stand in the line of those that wait. */
const MAX_GONE_WAITING = 256

/** HPACK: a dynamic table size update. After it, no change of the peer's limit needs another one. */
const TABLE_OF_SIZE_0 = Uint8Array.of(0x20)

/** What a sender tells its connection. */
export interface SenderOwner {
  /** A DATA frame took so many bytes from a stream's queue. */
  sent(bytes: number): void
  /** A stream's END_STREAM was written. */
  sentEnd(stream: H2Stream): void
}

/** The sending half of a connection: windows, turns, and what goes out in one write. */
export class Sender {
  readonly output: Output
  readonly peer = new PeerSettings()
  readonly #wire: Wire
  readonly #owner: SenderOwner
  /** The connection's window. */
  #window = INITIAL_WINDOW
  /** Streams that wait for the connection's window or the socket, in turn; those before `#next` have had theirs. */
  #waiting: H2Stream[] = []
  #next = 0
  #goneWaiting = 0
  /** Streams whose service is to be told that everything is gone. */
  #emptied: H2Stream[] = []
  /** Streams that could not send all that they said in this batch: it may lie in what the socket lent us. */
  #unsent: H2Stream[] = []
  #batching = false
  #toldTable = false
  #scheduled = false
  readonly #flushLater = (): void => {
    this.#scheduled = false
    if (!this.#batching) this.flush()
  }

  constructor(wire: Wire, owner: SenderOwner) {
    this.#wire = wire
    this.#owner = owner
    this.output = new Output(wire)
  }

  /** Until `flush`, everything is kept together. */
  begin(): void {
    this.#batching = true
  }

  /** The end of a batch. `lent`: memory that is written to again after it, and nothing said in it may refer to then. */
  flush(lent?: ArrayBufferLike): void {
    this.#batching = false
    this.output.flush()
    if (this.#unsent.length > 0) {
      for (const stream of this.#unsent) {
        stream.unsent = false
        if (lent !== undefined) stream.queue.own(lent)
      }
      this.#unsent = []
    }
    if (this.#emptied.length > 0 && this.#wire.pendingBytes === 0) this.#tellEmptied()
  }

  /** Something was written outside a batch: it leaves at the end of the tick. */
  schedule(): void {
    if (this.#batching || this.#scheduled) return
    this.#scheduled = true
    process.nextTick(this.#flushLater)
  }

  /** Sends what the stream has to say, as far as it may, the end included. */
  pump(stream: H2Stream, quantum = Number.POSITIVE_INFINITY): void {
    const { queue } = stream
    if (queue.bytes > 0) {
      if (stream.waiting) return this.#defer(stream)
      if (this.#waiting.length > this.#next && quantum !== QUANTUM) return this.#wait(stream)
      if (!stream.headSent) this.#head(stream)
      let left = quantum
      do {
        if (stream.sendWindow <= 0) return this.#defer(stream)
        if (left <= 0 || this.#window <= 0 || this.#congested()) return this.#wait(stream)
        const room = Math.min(queue.bytes, stream.sendWindow, this.#window, this.peer.maxFrameBytes, MAX_DATA_BYTES)
        this.output.head(room, FrameType.DATA, 0, stream.id)
        queue.take(room, this.output)
        this.#owner.sent(room)
        stream.sendWindow -= room
        this.#window -= room
        left -= room
      } while (queue.bytes > 0)
    }
    if (stream.tells) {
      stream.tells = false
      if (!stream.ended) this.#emptied.push(stream)
    }
    if (stream.ended && !stream.finished) this.#end(stream)
    this.schedule()
  }

  /** The connection's window grows. False: beyond what HTTP/2 allows. */
  widen(bytes: number): boolean {
    this.#window += bytes
    if (this.#window > MAX_WINDOW) return false
    this.resume()
    return true
  }

  /** The socket has taken what was pending, or the window has grown: whoever waits goes on, in turn. */
  resume(): void {
    while (this.#waiting.length > this.#next && this.#window > 0 && !this.#congested()) {
      const stream = this.#waiting[this.#next]!
      this.#next++
      stream.waiting = false
      if (!stream.gone) this.pump(stream, QUANTUM)
    }
    if (this.#next > 0) {
      this.#waiting.splice(0, this.#next)
      this.#next = 0
    }
  }

  /** The stream is over. Those that still wait leave the line, many at a time. */
  forget(stream: H2Stream): void {
    if (!stream.waiting) return
    this.#goneWaiting++
    if (this.#goneWaiting < MAX_GONE_WAITING) return
    this.#goneWaiting = 0
    this.#waiting = this.#waiting.slice(this.#next).filter(({ gone }) => !gone)
    this.#next = 0
  }

  #wait(stream: H2Stream): void {
    stream.waiting = true
    this.#waiting.push(stream)
    this.#defer(stream)
  }

  #defer(stream: H2Stream): void {
    if (!this.#batching) this.schedule()
    else if (!stream.unsent) {
      stream.unsent = true
      this.#unsent.push(stream)
    }
  }

  #congested(): boolean {
    const { output } = this
    if (output.bytes >= SOCKET_BYTES) output.flush()
    return this.#wire.pendingBytes >= SOCKET_BYTES
  }

  #tellEmptied(): void {
    const emptied = this.#emptied
    this.#emptied = []
    for (const stream of emptied) if (!stream.gone) stream.emptied()
  }

  #head(stream: H2Stream): void {
    stream.headSent = true
    this.#headers(Flag.END_HEADERS, stream.id, ANSWER_HEAD)
  }

  #headers(flags: number, id: number, block: Uint8Array): void {
    if (!this.peer.shrankTable || this.#toldTable) {
      this.output.frame(FrameType.HEADERS, flags, id, block)
      return
    }
    this.#toldTable = true
    this.output.head(TABLE_OF_SIZE_0.length + block.length, FrameType.HEADERS, flags, id)
    this.output.raw(TABLE_OF_SIZE_0)
    this.output.raw(block)
  }

  #end(stream: H2Stream): void {
    if (stream.endsWithData) {
      this.output.head(0, FrameType.DATA, Flag.END_STREAM, stream.id)
      return this.#finish(stream)
    }
    const { endStatus, endMessage } = stream
    const block = stream.headSent
      ? trailersBlock(endStatus, endMessage)
      : trailersOnlyBlock(endStatus, endMessage, stream.refusesEncoding)
    this.#endWith(stream, block)
  }

  /** The answer to a request that is no call of a service: `head`, and what the stream has as a text. */
  refuse(stream: H2Stream, head: Uint8Array): void {
    if (!stream.endsWithData) return this.#endWith(stream, head)
    this.#headers(Flag.END_HEADERS, stream.id, head)
    stream.headSent = true
    this.pump(stream)
  }

  /** An end in one HEADERS frame. */
  #endWith(stream: H2Stream, block: Uint8Array): void {
    this.#headers(Flag.END_HEADERS | Flag.END_STREAM, stream.id, block)
    this.#finish(stream)
  }

  #finish(stream: H2Stream): void {
    stream.finish()
    this.#owner.sentEnd(stream)
  }
}
