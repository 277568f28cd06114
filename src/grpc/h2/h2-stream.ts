/** One gRPC stream of a connection: between the frames that come and go and what the service hears and says. */
import { CutResult, MessageCutter } from '../message-cutter.ts'
import type { MessageSink } from '../message-cutter.ts'
import { PREFIX_BYTES } from '../framing.ts'
import { refusalOf } from '../message-refusal.ts'
import { GrpcStatus, StreamEnd } from '../transport.ts'
import type { ServerStream, StreamHandler, StreamHeaders, StreamService } from '../transport.ts'
import { SendQueue } from './send-queue.ts'

/** Up to so many pending bytes, nobody is told when they are gone. */
const UNTOLD_BYTES = 16 * 1024
/** Bytes that flow control counts and no service sees (prefixes, padding) are given back in steps of so many. */
const OVERHEAD_STEP = 4 * 1024
/** Deadlines from here on may be kept a tenth of a second late. */
const COARSE_DEADLINE_MS = 1000

/** What a stream needs of its connection. */
export interface StreamOwner {
  /** Sends what the stream has to say as far as windows and socket allow, the end included. */
  pump(stream: H2Stream): void
  /** Lets the peer send `bytes` more on this stream. */
  widen(stream: H2Stream, bytes: number): void
  /** The stream's pending bytes changed: true when the caps of stream or connection are crossed. */
  overPending(stream: H2Stream, by: number): boolean
  /** Ends a stream whose peer does not read: RST_STREAM (ENHANCE_YOUR_CALM), and forgets it. */
  calm(stream: H2Stream): void
  handlerFailed(error: unknown, path: string): void
  /** Has `checkDeadline` called now and then. */
  hasDeadline(): void
}

export class H2Stream implements ServerStream, MessageSink {
  readonly id: number
  readonly #owner: StreamOwner
  readonly #service: StreamService
  readonly queue = new SendQueue()
  /** What the peer still lets us send here; negative after it made its initial window smaller. */
  sendWindow: number
  /** What the peer may still send. */
  receiveWindow: number
  /** The peer ended its side. */
  halfClosed = false
  /** The answer's head was written. */
  headSent = false
  /** `end` was called, by the service or for it. */
  ended = false
  /** Our END_STREAM was written. */
  finished = false
  /** It waits for its turn: for the connection's window or the socket. */
  waiting = false
  /** It could not send all that it said in the batch under way. */
  unsent = false
  /** The connection has forgotten it. */
  gone = false
  endStatus: GrpcStatus = GrpcStatus.OK
  endMessage: string | undefined
  refusesEncoding = false
  /** It is no call: its answer has no trailers. */
  endsWithData = false
  /** `performance.now` of a deadline that the connection watches. */
  deadlineAt = Number.POSITIVE_INFINITY
  /** When its end was written, in ticks of the connection that waits for the peer's. */
  finishedTick = 0
  /** Bytes of DATA that the peer's content-length still announces; −1: it announced none. */
  announced = -1

  #handler: StreamHandler | undefined
  /** Made for the first message that comes in parts. */
  #cutter: MessageCutter | undefined
  #deadline: NodeJS.Timeout | undefined
  #peerEncodes = false
  #overhead = 0
  /** The service is to hear when all that is pending is gone. */
  tells = false
  #inCall = false
  /** The service will not be called any more. */
  #silent = false
  /** The transport ended the stream during an upward call: the service hears of it when the call returns. */
  #owesReset = false

  constructor(id: number, owner: StreamOwner, service: StreamService, sendWindow: number, receiveWindow: number) {
    this.id = id
    this.#owner = owner
    this.#service = service
    this.sendWindow = sendWindow
    this.receiveWindow = receiveWindow
  }

  /** `deadlineMs`: undefined = none. */
  start(headers: StreamHeaders, deadlineMs: number | undefined): void {
    const encoding = headers['grpc-encoding']
    this.#peerEncodes = encoding !== undefined && encoding !== 'identity'
    if (deadlineMs !== undefined) this.#setDeadline(deadlineMs)
    this.#inCall = true
    try {
      this.#handler = this.#service.open(this, headers)
    } catch (error) {
      this.#handlerFailed(error, 0)
    }
    this.leave()
  }

  /** Short ones are kept exactly, others by the connection's clock, which costs nothing per stream. */
  #setDeadline(afterMs: number): void {
    if (afterMs < COARSE_DEADLINE_MS) this.#deadline = setTimeout(deadlinePassed, afterMs, this)
    else {
      this.deadlineAt = performance.now() + afterMs
      this.#owner.hasDeadline()
    }
  }

  /** Called by the connection's clock. */
  checkDeadline(now: number): void {
    if (now >= this.deadlineAt) deadlinePassed(this)
  }

  /** Instead of `start`: the connection answers by itself, and what comes is thrown away. */
  refuse(text: Uint8Array | undefined): void {
    this.ended = true
    this.#silent = true
    if (text === undefined) return
    this.endsWithData = true
    this.queue.add(text, 0, text.length)
    this.#owner.overPending(this, text.length)
  }

  get pendingBytes(): number {
    return this.queue.bytes
  }

  send(bytes: Uint8Array): void {
    this.sendPart(bytes, 0, bytes.length)
  }

  sendPart(bytes: Uint8Array, start: number, end: number): void {
    if (this.ended || this.#silent || end <= start) return
    this.queue.add(bytes, start, end)
    if (this.#owner.overPending(this, end - start)) this.#calm()
    else if (!this.#inCall) this.#pump()
  }

  /** The peer does not read. The service hears of it when its present call is over, or in a moment: never within its own `send`. */
  #calm(): void {
    this.ended = true
    this.#owesReset = true
    this.#silent = true
    this.#owner.calm(this)
    if (!this.#inCall) process.nextTick(leave, this)
  }

  end(status: GrpcStatus, message?: string): void {
    if (this.ended || this.#silent) return
    this.ended = true
    this.#silent = true
    this.endStatus = status
    this.endMessage = message
    if (!this.#inCall) this.#pump()
  }

  grant(bytes: number): void {
    if (this.ended || this.#silent || bytes <= 0) return
    const overhead = this.#overhead
    this.#overhead = 0
    this.#owner.widen(this, bytes + overhead)
  }

  /** Bytes of flow control that no service gets to see. */
  addOverhead(bytes: number): void {
    this.#overhead += bytes
    if (this.#overhead < OVERHEAD_STEP || this.#silent) return
    this.#owner.widen(this, this.#overhead)
    this.#overhead = 0
  }

  /** Data of the peer, lent. */
  take(bytes: Buffer, start: number, end: number): void {
    if (this.#silent) return
    this.#inCall = true
    const kept = this.queue.bytes
    try {
      this.#cut(bytes, start, end)
    } catch (error) {
      this.#handlerFailed(error, kept)
    }
    this.leave()
  }

  /** Whole messages in one piece, the common case, go straight to the service. */
  #cut(bytes: Buffer, start: number, end: number): void {
    const handler = this.#handler!
    const cutter = this.#cutter
    let at = start
    if (cutter === undefined || !cutter.insideMessage) {
      const { maxMessageBytes } = this.#service
      while (end - at >= PREFIX_BYTES && bytes[at] === 0) {
        const length = ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!) >>> 0
        const from = at + PREFIX_BYTES
        if (length > end - from || length > maxMessageBytes) break
        at = from + length
        this.addOverhead(PREFIX_BYTES)
        if (handler.message === undefined) handler.data(bytes.subarray(from, at), 0)
        else handler.message(bytes, from, at)
        if (this.#silent) return
      }
      if (at === end) return
    }
    this.#cutSlowly(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end))
  }

  #cutSlowly(chunk: Buffer): void {
    this.#cutter ??= new MessageCutter(this.#service.maxMessageBytes)
    const result = this.#cutter.cut(chunk, this)
    if (result > CutResult.STOPPED) this.#refuseMessage(result)
  }

  part(part: Uint8Array, remaining: number): boolean {
    // The prefix, counted with the last part of its message.
    if (remaining === 0) this.addOverhead(PREFIX_BYTES)
    this.#handler!.data(part, remaining)
    return !this.#silent
  }

  /** END_STREAM came. */
  peerFinished(): void {
    if (this.halfClosed) return
    this.halfClosed = true
    if (this.#silent) {
      if (this.finished && this.endStatus === GrpcStatus.OK) this.#tellPeerEnded()
      return
    }
    if (this.#cutter?.insideMessage === true) {
      this.fail(GrpcStatus.INTERNAL, 'the stream ended within a message')
      return
    }
    this.#inCall = true
    const kept = this.queue.bytes
    try {
      this.#handler?.closed(StreamEnd.HALF_CLOSED)
    } catch (error) {
      this.#handlerFailed(error, kept)
    }
    this.leave()
  }

  #tellPeerEnded(): void {
    try {
      this.#handler?.peerEnded?.()
    } catch (error) {
      this.#owner.handlerFailed(error, this.#service.path)
    }
  }

  /** Ends the stream on the transport's own account. The service hears `RESET`. */
  fail(status: GrpcStatus, message: string): void {
    if (this.ended || this.#silent) return
    this.ended = true
    this.endStatus = status
    this.endMessage = message
    if (this.#inCall) {
      this.#owesReset = true
      this.#silent = true
      return
    }
    this.#tell(StreamEnd.RESET)
    this.#pump()
  }

  /** The stream is over for the connection: reset by either side, or lost with it. */
  over(how: StreamEnd): void {
    if (this.#deadline !== undefined) clearTimeout(this.#deadline)
    this.ended = true
    this.#clearQueue()
    if (this.#inCall) {
      if (!this.#silent) this.#owesReset = true
      this.#silent = true
    } else this.#tell(how)
  }

  /** Our END_STREAM is written. */
  finish(): void {
    this.finished = true
    if (this.#deadline !== undefined) clearTimeout(this.#deadline)
  }

  /** Everything that was pending is with the socket. */
  emptied(): void {
    if (this.#silent || this.#inCall) return
    this.#inCall = true
    const kept = this.queue.bytes
    try {
      this.#handler!.drained!()
    } catch (error) {
      this.#handlerFailed(error, kept)
    }
    this.leave()
  }

  /** Called at the end of every upward call: what the service said during it goes out. */
  leave(): void {
    this.#inCall = false
    if (this.#owesReset) {
      this.#owesReset = false
      this.#silent = false
      this.#tell(StreamEnd.RESET)
    }
    if (this.ended || this.queue.bytes > 0) this.#pump()
  }

  #pump(): void {
    if (this.gone) return
    if (this.queue.bytes > UNTOLD_BYTES && !this.#silent && this.#handler?.drained !== undefined) this.tells = true
    this.#owner.pump(this)
  }

  #tell(how: StreamEnd): void {
    if (this.#silent) return
    this.#silent = true
    this.#inCall = true
    try {
      this.#handler?.closed(how)
    } catch (error) {
      this.#owner.handlerFailed(error, this.#service.path)
    }
    this.#inCall = false
  }

  #clearQueue(): void {
    const { bytes } = this.queue
    this.queue.clear()
    this.#owner.overPending(this, -bytes)
  }

  #refuseMessage(result: CutResult): void {
    const { status, message, refusesEncoding } = refusalOf(result, this.#service.maxMessageBytes, this.#peerEncodes)
    this.refusesEncoding = refusesEncoding
    this.fail(status, message)
  }

  /** What the failed call said does not go out, not even its end: half an answer could pass for a whole one. */
  #handlerFailed(error: unknown, kept: number): void {
    this.#owner.handlerFailed(error, this.#service.path)
    if (this.finished || this.gone) return
    const dropped = this.queue.bytes - kept
    if (dropped > 0) {
      this.queue.truncate(kept)
      this.#owner.overPending(this, -dropped)
    }
    const serviceEnded = this.ended
    this.ended = false
    this.#silent = false
    this.fail(GrpcStatus.INTERNAL, 'internal error')
    if (serviceEnded) this.#owesReset = false
  }
}

function deadlinePassed(stream: H2Stream): void {
  stream.fail(GrpcStatus.DEADLINE_EXCEEDED, 'deadline exceeded')
}

function leave(stream: H2Stream): void {
  stream.leave()
}
