import { Buffer } from 'node:buffer'
import type { ServerStream } from '../grpc/transport.ts'
import type { Counting, Decider } from './decider.ts'
import { Decision } from './decision.ts'
import type { HeldBudget } from './held-budget.ts'
import type { MetadataNumbers } from './encode-metadata.ts'
import { HeaderView } from './header-view.ts'
import { BodyMode } from './modes.ts'
import type { WireWriter } from './wire.ts'

/** Where the request direction is. */
export const RequestState = {
  /** Nothing of the request was seen. */
  START: 0,
  /** Headers seen, no decision written. */
  UNDECIDED: 1,
  /** The decision is written; the body may still flow. */
  OPEN: 2,
  /** Nothing of this direction will be answered any more. */
  ENDED: 3,
} as const
export type RequestState = (typeof RequestState)[keyof typeof RequestState]

/** Pieces from this size on are held where they lie, if the transport allows it. */
const MIN_KEPT_BYTES = 4096
/** Headers and other messages up to this size are part of what a stream takes anyway. */
const MIN_COUNTED_BYTES = 4096

/** What a thread's exchanges share. */
export interface ExchangeContext {
  readonly out: WireWriter
  readonly budget: HeldBudget
  /** Largest `streamed_response` chunk we send, bytes. Envoy takes any; 62 KiB suits gateways with 64 KiB buffers. */
  readonly maxChunkBytes: number
  /** False: bytes lent by the transport are copied when they are held. */
  readonly retainsParts: boolean
  /**
   * What a decider that needs the body does on a gateway that sends none (mode NONE): decide on headers alone, or override the
   * mode (the gateway must have `allow_mode_override`).
   */
  readonly modeOverride: ModeOverride
  /** Modes of a peer that announces none (no `protocol_config`). */
  readonly defaultBodyMode: BodyMode
  /** Runs `exchange` on when a deferred decision came; `decide` makes it first. */
  readonly resume: (exchange: Exchange, decide: (() => void) | undefined) => void
  /** Ends `exchange` with the immediate answer that `decide` makes. */
  readonly revoke: (exchange: Exchange, decide: () => void) => void
}

/** `full-duplex` sends the override alone before the header answer, which needs Envoy 1.40. */
export type ModeOverride = 'none' | 'buffered' | 'full-duplex'

/** What outlives the record of an exchange: its stream's handler. */
export interface Afterlife {
  /** Should the peer show that it never took the decision, `counting` gives back this count. */
  remember(counting: Counting, slot: number, generation: number, tokens: number): void
}

/**
 * One ext_proc stream = one HTTP request with its response. A pooled record: `step.ts` changes it, nothing here does I/O.
 */
export class Exchange {
  readonly context: ExchangeContext
  stream!: ServerStream
  decider!: Decider
  afterlife: Afterlife | undefined
  /** Messages so far, and how many of them had come when the decision was written. */
  messages = 0
  decidedAt = -1
  /** The decider's own record of this request. */
  call: unknown
  /** Rises with every re-use of the record: a late `resume` of an earlier life is ignored. */
  serial = 0
  readonly decision = new Decision()
  /** Headers that the response gets, name and value in turns; filled by `Decider.responseHeaders`. */
  readonly responseSet: string[] = []
  /** Request headers; valid until the decision is written. */
  headers = new HeaderView()

  started = false
  finished = false
  observability = false
  requestState: RequestState = RequestState.START
  requestMode: BodyMode = BodyMode.NONE
  /** STREAMED + `send_body_without_waiting_for_header_response`: "look". */
  look = false
  responseMode: BodyMode = BodyMode.NONE
  headersAnswered = false
  /** The decision is made and waits: for all of a BUFFERED message, or for the end of a body that Envoy may keep. */
  verdictReady = false
  deferred = false
  /** Envoy's end of the request body was seen. */
  requestEnded = false
  /** The headers were the end: no body message, not even an empty one. */
  endsWithHeaders = false
  /** The body ended with trailers: the trailers message waits for its answer. */
  trailersPending = false
  responseEnded = false
  /** See `Decider.responseBody`. */
  readsResponse = false
  editsResponse = false
  /** The piece that `Decider.responseBody` is given is the end of the response. */
  responseEnds = false
  /** Dynamic metadata that go with the answer to the end of the response; set by `Decider.responseBody`. */
  responseNumbers: MetadataNumbers | undefined
  /** Pieces of the response message under way, where it is answered as a whole and may change. */
  readonly responsePieces: Buffer[] = []
  responsePieceBytes = 0
  modeOverridden = false

  /** The decider said in `requestHeaders` that this request may be rewritten, whatever its `mayRewrite` says. */
  mayRewrite = false
  /** Look mode: every chunk is answered to the end of a body whose length is not known, so that its cap holds. */
  followsRequest = false
  /** Turns of the clock that a ready decision has waited for the end of the body. */
  readyTurns = 0
  /** Bytes of the body that Envoy has sent or begun to send: those of a message that has only begun to arrive included. */
  announcedBytes = 0

  /** Bytes of the request body seen, and what content-length promises (−1 = unknown). */
  bodyBytes = 0
  contentLength = -1
  /** Body messages that wait for their answer (look mode). */
  unanswered = 0
  /** Pieces of the request body that are held, and per look-mode message how many of them belong to it. */
  readonly held: Buffer[] = []
  heldBytes = 0
  /** Bytes kept of a message that comes in parts; the budget counts them too. */
  #gatheredBytes = 0
  /** Those of headers that wait for the decision, where they are large. */
  /** The decider's, from which the held bytes were taken too. */
  #deciderBudget: HeldBudget | undefined
  #headerBytes = 0
  /** The last of them while small pieces are put together in it, and the memory that it grows in. */
  #small: Buffer | undefined
  #room: Buffer | undefined
  readonly messageEnds: number[] = []
  /** The piece of the body that decides, while its decision is written: `piece[pieceStart, pieceEnd)`. */
  piece: Buffer | undefined
  pieceStart = 0
  pieceEnd = 0
  /** Absolute offset of the first held byte. */
  heldOffset = 0
  /** Bytes of window given to the peer beyond the initial one, and those taken from it that are to be given back. */
  granted = 0
  owed = 0

  /** When the first message came (ms of the service's clock), and whether a longer timeout was asked for. */
  startedAt = 0
  timeoutOverridden = false
  /** `traceparent` of the gRPC stream: a data plane that traces names its own span there. */
  traceparent: string | undefined
  /** When time was looked at last; what `bodyBytes` was then, and since when it has not grown. */
  seenAt = 0
  seenBytes = 0
  idleSince = 0
  /** The decision was deferred at some time since then, and for how long until then, ms. */
  wasDeferred = false
  deferredMs = 0
  /** Index in the service's list of open exchanges. */
  index = -1

  constructor(context: ExchangeContext) {
    this.context = context
  }

  begin(stream: ServerStream, decider: Decider, now: number): void {
    this.stream = stream
    this.decider = decider
    this.call = undefined
    this.afterlife = undefined
    this.messages = 0
    this.decidedAt = -1
    this.started = false
    this.finished = false
    this.observability = false
    this.requestState = RequestState.START
    this.requestMode = BodyMode.NONE
    this.look = false
    this.responseMode = BodyMode.NONE
    this.headersAnswered = false
    this.verdictReady = false
    this.deferred = false
    this.requestEnded = false
    this.endsWithHeaders = false
    this.trailersPending = false
    this.responseEnded = false
    this.readsResponse = false
    this.editsResponse = false
    this.responseEnds = false
    this.responseNumbers = undefined
    this.modeOverridden = false
    this.mayRewrite = false
    this.followsRequest = false
    this.readyTurns = 0
    this.announcedBytes = 0
    this.bodyBytes = 0
    this.contentLength = -1
    this.unanswered = 0
    this.heldOffset = 0
    this.granted = 0
    this.owed = 0
    this.startedAt = now
    this.timeoutOverridden = false
    this.seenAt = now
    this.seenBytes = 0
    this.idleSince = now
    this.wasDeferred = false
    this.deferredMs = 0
  }

  /** Gives back everything held; the record may be used again afterwards. */
  release(): void {
    this.serial++
    this.dropHeld()
    this.dropResponse()
    this.gather(0)
    this.context.budget.give(this.#headerBytes)
    this.#headerBytes = 0
    this.decision.clear()
    if (this.responseSet.length > 0) this.responseSet.length = 0
    this.headers.clear()
    this.call = undefined
    this.afterlife = undefined
    this.piece = undefined
  }

  /** So many bytes are kept of the message under way; false when the budget is used up. */
  gather(bytes: number): boolean {
    const counted = bytes > MIN_COUNTED_BYTES ? bytes : 0
    const more = counted - this.#gatheredBytes
    if (more === 0) return true
    if (more > 0 && !this.context.budget.take(more)) return false
    if (more < 0) this.context.budget.give(-more)
    this.#gatheredBytes = counted
    return true
  }

  /** Keeps the headers until the decision: copied, where they are only lent. False when the budget is used up. */
  keepHeaders(): boolean {
    const { size } = this.headers
    if (size > MIN_COUNTED_BYTES) {
      if (!this.context.budget.take(size)) return false
      this.#headerBytes = size
    }
    if (!this.context.retainsParts) this.headers.keep()
    return true
  }

  /** Holds bytes of the body; false when the budget is used up. */
  hold(bytes: Buffer, start: number, end: number): boolean {
    if (start === end) return true
    if (!this.#takeHeld(end - start)) return false
    this.heldBytes += end - start
    const piece = bytes.subarray(start, end)
    // A small piece would keep the whole read buffer that it lies in.
    if (end - start < MIN_KEPT_BYTES) this.#holdSmall(piece)
    else this.held.push(this.context.retainsParts ? piece : Buffer.from(piece))
    return true
  }

  #takeHeld(bytes: number): boolean {
    // It is given back where it was taken, whatever the decider has by then.
    if (this.heldBytes === 0) this.#deciderBudget = this.decider.heldBudget
    if (!this.context.budget.take(bytes)) return false
    if (this.#deciderBudget === undefined || this.#deciderBudget.take(bytes)) return true
    this.context.budget.give(bytes)
    return false
  }

  /** So many of the held bytes are held no longer. */
  giveHeld(bytes: number): void {
    this.context.budget.give(bytes)
    this.#deciderBudget?.give(bytes)
    this.heldBytes -= bytes
  }

  /** Clients may send a body byte by byte: a buffer for each would take a hundred times what the budget counts. */
  #holdSmall(piece: Buffer): void {
    const { held } = this
    const before = this.#small
    const last = held.length - 1
    if (before === undefined || held[last] !== before || before.length >= MIN_KEPT_BYTES) {
      this.#small = Buffer.from(piece)
      this.#room = undefined
      held.push(this.#small)
      return
    }
    const length = before.length + piece.length
    if (this.#room === undefined || this.#room.length < length) {
      const room = Buffer.allocUnsafeSlow(2 * length)
      before.copy(room)
      this.#room = room
    }
    piece.copy(this.#room, before.length)
    this.#small = this.#room.subarray(0, length)
    held[last] = this.#small
  }

  /** Keeps a piece of a response message; false when the budget is used up. */
  holdResponse(bytes: Buffer, start: number, end: number): boolean {
    if (!this.context.budget.take(end - start)) return false
    this.responsePieceBytes += end - start
    this.responsePieces.push(Buffer.from(bytes.subarray(start, end)))
    return true
  }

  dropResponse(): void {
    if (this.responsePieceBytes > 0) this.context.budget.give(this.responsePieceBytes)
    this.responsePieceBytes = 0
    if (this.responsePieces.length > 0) this.responsePieces.length = 0
  }

  dropHeld(): void {
    if (this.heldBytes > 0) {
      this.giveHeld(this.heldBytes)
      this.held.length = 0
      this.#small = undefined
      this.#room = undefined
    }
    if (this.messageEnds.length > 0) this.messageEnds.length = 0
  }

  /**
   * A deferred decision is in `decision`, or is put there by `decide`, whose errors end the stream as a decider's do. Ignored when
   * the stream is over (another `serial`).
   */
  resume(serial: number, decide?: () => void): void {
    if (serial === this.serial && this.deferred) this.context.resume(this, decide)
  }

  /**
   * Takes back a decision, also one that is on the wire: the immediate answer that `decide` puts into `decision` takes its place, or
   * where the response's headers have gone to the client, the data plane cuts the response off. From the event loop and not from within a call
   * of the exchange's. Ignored when response or stream are over.
   */
  revoke(serial: number, decide: () => void): void {
    if (serial === this.serial && !this.finished && !this.responseEnded) this.context.revoke(this, decide)
  }
}
