import type { Exchange } from './exchange.ts'
import type { HeldBudget } from './held-budget.ts'
import type { IncomingMessage } from './decode-request.ts'

/** What a decider says after each event. */
export const Verdict = {
  /** The facts are not final: more of the body, please. */
  MORE: 0,
  /** `exchange.decision` is filled. */
  DECIDED: 1,
  /**
   * A decision will come later: the decider calls `exchange.resume(serial)` on the same thread, from the event loop and not from within
   * a call of the exchange's. Until then it gets no more of the body, the peer may send no more than it may already, and only the
   * decider bounds the time.
   */
  DEFERRED: 2,
} as const
export type Verdict = (typeof Verdict)[keyof typeof Verdict]

/** Refusals that the exchange itself has to make; the decider words them in the caller's protocol. */
export const Refusal = {
  /** 413 */
  BODY_TOO_LARGE: 'body_too_large',
  /** 400: content-length is no number, or several. */
  BAD_CONTENT_LENGTH: 'bad_content_length',
  /** 408: the body did not arrive within the upload timeout. */
  UPLOAD_TIMEOUT: 'upload_timeout',
  /** 503: held bytes of all streams are over the budget. */
  OVERLOADED: 'overloaded',
} as const
export type Refusal = (typeof Refusal)[keyof typeof Refusal]

/** Where a decision has counted a request, which is taken back when the peer never took the decision. */
export interface Counting {
  releaseUnlogged(slot: number, generation: number, tokens: number): void
}

/**
 * Decides requests for the exchange: the port between Envoy's protocol (this floor) and the pipeline above. One object serves
 * many exchanges; what it knows of a request lies in `exchange.call`. No method may throw; none is called after `closed`.
 */
export interface Decider {
  /** Cap of the request body, bytes. */
  readonly maxBodyBytes: number
  /** Envoy's `message_timeout` where known, ms; 0 = unknown. */
  readonly messageTimeoutMs: number
  /** Deadline of the whole upload, ms; also the `override_message_timeout` that is asked for. */
  readonly uploadTimeoutMs: number
  /** How much longer a decision may be deferred, ms; part of the `override_message_timeout`. Default: 0. */
  readonly waitMs?: number
  /** An undecided body that does not grow for so long is refused, ms. */
  readonly uploadIdleMs: number
  /** The response's end matters: the stream is not closed early and every response message is answered. */
  readonly followsResponse: boolean
  /**
   * Bytes up to which a body is kept by Envoy for retries; 0 = decisions have no alternative without retries. Envoy 1.40 sends what
   * it kept twice (more bytes than content-length says: request smuggling) when a body goes on after our answer, or ends with
   * trailers. So the decision waits for the end of a body up to this size, for a moment at the most; if the
   * body then has not ended, `Decision.unretriedValue` sends the request to where it is not kept.
   */
  readonly retryBufferBytes: number
  /** Decisions may carry replacements: chunks are kept until then. `requestHeaders` may say so of one request: `exchange.mayRewrite`. */
  readonly mayRewrite: boolean
  /** Bounds what is held of bodies besides the budget of all; may be another one later. Default: nothing else does. */
  readonly heldBudget?: HeldBudget | undefined

  /**
   * The request headers, lent for the call; `exchange.headers` stays valid until the decision. `bodyComes` is false when no
   * body will be seen by us (end of stream, or a mode without one): the answer must then not be MORE.
   */
  requestHeaders(exchange: Exchange, message: IncomingMessage, bodyComes: boolean): Verdict
  /** Metadata that came with a later message (a subset hint may). */
  requestMetadata(exchange: Exchange, message: IncomingMessage): void
  /** A piece of the body, lent for the call, in order, any split. */
  requestBody(exchange: Exchange, bytes: Buffer, start: number, end: number): Verdict
  /** The body is over (end of stream, trailers, or content-length reached). Not MORE. */
  requestEnd(exchange: Exchange): Verdict
  /** Fills `exchange.decision` with an immediate answer. */
  refuse(exchange: Exchange, refusal: Refusal): void

  /** The decision is on the wire (in-flight counts and metrics belong here, not in the verdict: a refusal may overtake it). */
  responseHeaders(exchange: Exchange, message: IncomingMessage): void
  /**
   * A piece of the response body, lent for the call, in order; only where `responseHeaders` set `exchange.readsResponse`. Where it set
   * `exchange.editsResponse` too, the bytes to send on instead are returned, ours or of the piece. `last`: nothing may be held back
   * for later; a body that trailers end gets an empty last piece. `exchange.responseEnds` tells of the end of the response, where
   * `exchange.responseNumbers` may be set.
   */
  responseBody?(
    exchange: Exchange,
    bytes: Uint8Array,
    start: number,
    end: number,
    last: boolean,
  ): Uint8Array | undefined
  /** The response has trailers, and this gateway shows them; its end is told after them. */
  responseTrailers?(exchange: Exchange, message: IncomingMessage): void
  responseEnd(exchange: Exchange): void
  /** The stream is over, however. The call record must be given back here. */
  closed(exchange: Exchange): void
}
