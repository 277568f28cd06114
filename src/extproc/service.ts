import { Buffer } from 'node:buffer'
import {
  GrpcStatus,
  type ServerStream,
  StreamEnd,
  type StreamHandler,
  type StreamHeaders,
  type StreamService,
} from '../grpc/transport.ts'
import { decodeRequest, IncomingMessage } from './decode-request.ts'
import type { Counting, Decider } from './decider.ts'
import { type Afterlife, Exchange, type ExchangeContext, type ModeOverride } from './exchange.ts'
import { headerName } from './header-view.ts'
import { HeldBudget } from './held-budget.ts'
import { immediate } from './immediate.ts'
import { MessageReader, PartResult } from './message-reader.ts'
import { BodyMode } from './modes.ts'
import { bodyPiece, closed, decided, message, timer } from './step.ts'
import { WireWriter } from './wire.ts'

/**
 * `envoy.service.ext_proc.v3.ExternalProcessor/Process` on the transport seam: one handler a stream, pooled exchange records, one
 * clock for all deadlines.
 *
 * Budget of all above the transport, decision and pick among 8 endpoints included (test/bench/exchange.bench.ts): 300 B look in 4 µs
 * and 0.2 KB of garbage, 300 B full duplex both ways in 6 µs and 0.8 KB, 220 KB look in 25 µs with the model first, 60 µs last.
 */

export const EXT_PROC_SERVICE = 'envoy.service.ext_proc.v3.ExternalProcessor'

export interface ExtProcOptions {
  /** Chooses the decider of a stream by its gRPC initial metadata; undefined ends the stream with NOT_FOUND. */
  readonly decider: (headers: StreamHeaders) => Decider | undefined
  /** Of the bytes of bodies held by all streams together; beyond it 503. Default: one of its own of 512 MiB. */
  readonly budget?: HeldBudget
  /** Largest message taken, bytes. Default 256 MiB + 64 KiB: a BUFFERED body of the largest cap comes in one. */
  readonly maxMessageBytes?: number
  /** Largest `streamed_response` chunk sent, bytes. Default 62 KiB. */
  readonly maxChunkBytes?: number
  /** See `ExchangeContext.modeOverride`. Default none. */
  readonly modeOverride?: ModeOverride
  /** Modes of a peer that sends no `protocol_config`. Default FULL_DUPLEX_STREAMED. */
  readonly defaultBodyMode?: BodyMode
  /** The transport lets us keep the bytes it lends. */
  readonly retainsParts: boolean
  /** Milliseconds, monotonic. Default `performance.now`. */
  readonly now?: () => number
  /** Told of bugs that ended a stream; `requestId` = the request's `x-request-id`, where it is known. */
  readonly onError?: (error: unknown, requestId: string | undefined) => void
}

const REQUEST_ID = headerName('x-request-id')
/** Of a peer, our embedded data plane, whose end of a stream says nothing. */
const ENDS_STREAMS = 'x-signalbox-ends-streams'
const TICK_MS = 50
const MAX_POOLED = 4096
/** Once a body is longer than this, its window grows: uploads need not wait for us every 64 KiB. */
const LARGE_BODY_BYTES = 48 * 1024
const LARGE_BODY_WINDOW = 448 * 1024
/** Answers that the peer does not take: no more is read from it. */
const MAX_PENDING_BYTES = 1024 * 1024

export class ExtProcService implements StreamService {
  readonly path = `/${EXT_PROC_SERVICE}/Process`
  readonly maxMessageBytes: number
  readonly #options: ExtProcOptions
  readonly #context: ExchangeContext
  readonly #now: () => number
  readonly #pool: Exchange[] = []
  readonly #open: Exchange[] = []
  readonly #message = new IncomingMessage()
  #timer: NodeJS.Timeout | undefined
  /** Streams since the start. */
  streams = 0

  constructor(options: ExtProcOptions) {
    this.#options = options
    this.maxMessageBytes = options.maxMessageBytes ?? 256 * 1024 * 1024 + 64 * 1024
    this.#now = options.now ?? (() => performance.now())
    this.#context = {
      out: new WireWriter(),
      budget: options.budget ?? new HeldBudget(512 * 1024 * 1024),
      maxChunkBytes: options.maxChunkBytes ?? 62 * 1024,
      retainsParts: options.retainsParts,
      modeOverride: options.modeOverride ?? 'none',
      defaultBodyMode: options.defaultBodyMode ?? BodyMode.FULL_DUPLEX_STREAMED,
      resume: (exchange, decide) => this.#resume(exchange, decide),
      revoke: (exchange, decide) => this.#revoke(exchange, decide),
    }
  }

  /** Exchanges that are open now. */
  get openExchanges(): number {
    return this.#open.length
  }

  /** Bytes of bodies held now by this thread. */
  get heldBytes(): number {
    return this.#context.budget.held
  }

  open(stream: ServerStream, headers: StreamHeaders): StreamHandler {
    this.streams++
    const decider = this.#options.decider(headers)
    if (decider === undefined) {
      stream.end(GrpcStatus.NOT_FOUND, 'no plan for this stream')
      return IGNORE
    }
    const exchange = this.#pool.pop() ?? new Exchange(this.#context)
    exchange.begin(stream, decider, this.#now())
    const { traceparent } = headers
    exchange.traceparent = typeof traceparent === 'string' ? traceparent : undefined
    exchange.index = this.#open.push(exchange) - 1
    if (this.#timer === undefined) {
      this.#timer = setInterval(() => this.tick(), TICK_MS)
      this.#timer.unref()
    }
    const handler = new ExchangeHandler(this, exchange)
    if (headers[ENDS_STREAMS] === undefined) exchange.afterlife = handler
    return handler
  }

  /** A whole message for an exchange: `bytes[start, end)`. */
  takeWhole({ exchange }: ExchangeHandler, bytes: Buffer, start: number, end: number): void {
    const m = this.#message
    if (decodeRequest(bytes, start, end, m)) message(exchange, m)
    else this.#fail(exchange, GrpcStatus.INVALID_ARGUMENT, 'malformed message')
    this.#grant(exchange, end - start)
  }

  /** A part of a message for an exchange. */
  take(handler: ExchangeHandler, part: Buffer, remaining: number): void {
    const { exchange } = handler
    const m = this.#message
    let { reader } = handler
    if (reader === undefined && remaining > 0) {
      reader = new MessageReader()
      handler.reader = reader
    }
    if (reader === undefined) return this.takeWhole(handler, part, 0, part.length)
    let result = reader.part(part, remaining, m)
    if (result === PartResult.PIECE) {
      if (reader.pieceEnd > reader.pieceStart)
        bodyPiece(exchange, reader.bodyKind, part, reader.pieceStart, reader.pieceEnd, reader.bodyLeft)
      result = reader.finish(remaining, m)
    }
    if (!exchange.gather(reader.gatheredBytes))
      this.#fail(exchange, GrpcStatus.RESOURCE_EXHAUSTED, 'too many bytes are held')
    if (result === PartResult.MESSAGE) {
      message(exchange, m)
    } else if (result === PartResult.MALFORMED || result === PartResult.TOO_LARGE) {
      const large = result === PartResult.TOO_LARGE
      this.#fail(
        exchange,
        large ? GrpcStatus.RESOURCE_EXHAUSTED : GrpcStatus.INVALID_ARGUMENT,
        large ? 'message too large' : 'malformed message',
      )
    }
    this.#grant(exchange, part.length)
  }

  #resume(exchange: Exchange, decide: (() => void) | undefined): void {
    try {
      decide?.()
      decided(exchange)
    } catch (error) {
      this.report(exchange, error)
    }
    if (exchange.finished) this.done(exchange)
    else this.#giveOwed(exchange)
  }

  #revoke(exchange: Exchange, decide: () => void): void {
    try {
      exchange.decision.clear()
      decide()
      immediate(exchange)
    } catch (error) {
      this.report(exchange, error)
    }
    this.done(exchange)
  }

  /** A bug in a decider ends its stream with INTERNAL and is told. */
  report(exchange: Exchange, error: unknown): void {
    const requestId = exchange.headers.get(REQUEST_ID)
    // What was half written must not leave with another stream's answer.
    this.#context.out.take()
    this.#fail(exchange, GrpcStatus.INTERNAL, 'internal error')
    this.#options.onError?.(error, requestId)
  }

  /** The stream is over: the record goes back. */
  done(exchange: Exchange): void {
    if (exchange.index < 0) return
    const last = this.#open.pop()!
    if (last !== exchange) {
      this.#open[exchange.index] = last
      last.index = exchange.index
    }
    exchange.index = -1
    try {
      exchange.decider.closed(exchange)
    } catch (error) {
      this.#options.onError?.(error, exchange.headers.get(REQUEST_ID))
    }
    exchange.release()
    if (this.#pool.length < MAX_POOLED) this.#pool.push(exchange)
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #fail(exchange: Exchange, status: GrpcStatus, text: string): void {
    if (exchange.finished) return
    exchange.finished = true
    exchange.stream.end(status, text)
  }

  /** Lets the peer go on by what was taken; a long body gets a larger window, a peer that does not read its answers none. */
  #grant(exchange: Exchange, bytes: number): void {
    if (exchange.finished) return
    exchange.owed += bytes
    // While the decision is waited for, the rest of a body waits where it is.
    if (exchange.deferred || exchange.stream.pendingBytes > MAX_PENDING_BYTES) return
    if (exchange.granted === 0 && exchange.bodyBytes > LARGE_BODY_BYTES) {
      exchange.granted = LARGE_BODY_WINDOW
      exchange.owed += LARGE_BODY_WINDOW
    }
    if (exchange.owed < GRANT_BATCH) return
    exchange.stream.grant(exchange.owed)
    exchange.owed = 0
  }

  /** The transport drained: gives what is owed. */
  drained({ exchange }: ExchangeHandler): void {
    if (!exchange.deferred) this.#giveOwed(exchange)
  }

  #giveOwed(exchange: Exchange): void {
    if (exchange.finished || exchange.owed === 0) return
    exchange.stream.grant(exchange.owed)
    exchange.owed = 0
  }

  /** Looks at all deadlines; runs by itself twenty times a second while exchanges are open. */
  tick(): void {
    if (this.#open.length === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
      return
    }
    const now = this.#now()
    // Backwards: an exchange that ends in its timer may leave the list.
    for (let i = this.#open.length - 1; i >= 0; i--) {
      const exchange = this.#open[i]
      if (exchange === undefined) continue
      try {
        timer(exchange, now)
      } catch (error) {
        this.report(exchange, error)
      }
      if (exchange.finished) this.done(exchange)
    }
  }
}

/** Small exchanges never need a grant: the window is only topped up in steps of this many bytes. */
const GRANT_BATCH = 16 * 1024
const IGNORE: StreamHandler = { data() {}, closed() {} }

/** One stream. The exchange record may be in its next life already: `serial` tells. */
class ExchangeHandler implements StreamHandler, Afterlife {
  readonly service: ExtProcService
  readonly exchange: Exchange
  readonly #serial: number
  #counting: Counting | undefined
  #slot = 0
  #generation = 0
  #tokens = 0
  /** Made for the first message that comes in parts. */
  reader: MessageReader | undefined

  constructor(service: ExtProcService, exchange: Exchange) {
    this.service = service
    this.exchange = exchange
    this.#serial = exchange.serial
  }

  data(part: Uint8Array, remaining: number): void {
    const { exchange } = this
    if (exchange.serial !== this.#serial) return
    try {
      this.service.take(this, asBuffer(part), remaining)
    } catch (error) {
      this.service.report(exchange, error)
    }
    if (exchange.finished) this.service.done(exchange)
  }

  message(bytes: Buffer, start: number, end: number): void {
    const { exchange } = this
    if (exchange.serial !== this.#serial) return
    try {
      this.service.takeWhole(this, bytes, start, end)
    } catch (error) {
      this.service.report(exchange, error)
    }
    if (exchange.finished) this.service.done(exchange)
  }

  closed(how: StreamEnd): void {
    const { exchange } = this
    if (exchange.serial !== this.#serial) return
    try {
      closed(exchange, how)
    } catch (error) {
      this.service.report(exchange, error)
    }
    if (how !== StreamEnd.HALF_CLOSED || exchange.finished) this.service.done(exchange)
  }

  drained(): void {
    if (this.exchange.serial === this.#serial) this.service.drained(this)
  }

  remember(counting: Counting, slot: number, generation: number, tokens: number): void {
    this.#counting = counting
    this.#slot = slot
    this.#generation = generation
    this.#tokens = tokens
  }

  /**
   * Envoy resets a stream that we have ended once it has read the end, and with it the decision. It ends its own side where the request is
   * over before that: then the decision was dropped (docs/data-path.md, "In flight").
   */
  peerEnded(): void {
    this.#counting?.releaseUnlogged(this.#slot, this.#generation, this.#tokens)
    this.#counting = undefined
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
