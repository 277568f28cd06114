import { Buffer } from 'node:buffer'
import { spliceChunk } from '../body/splice.ts'
import { GrpcStatus } from '../grpc/transport.ts'
import type { IncomingMessage } from './decode-request.ts'
import { Refusal, Verdict } from './decider.ts'
import {
  Direction,
  writeBufferedBody,
  writeChangedChunk,
  writeEmptyBody,
  writeEmptyHeaders,
  writeModeOverride,
  writeRequestHeaders,
  writeTrailers,
} from './encode-response.ts'
import { editedChunks, editedHeld, lastReplacementEnd, newContentLength, spliceAfter } from './edits.ts'
import { type Exchange, RequestState } from './exchange.ts'
import { headerName } from './header-view.ts'
import { immediate, refuse } from './immediate.ts'
import { BodyMode, HeaderMode } from './modes.ts'
import { echo, fail, finish, flush } from './output.ts'

/**
 * The request direction of an exchange. Order of answers: headers, then bodies, then trailers; nothing after the end of the
 * direction (envoy-xds-istio.md §1.5 as corrected by envoy-1.40-measured.md).
 */

const CONTENT_LENGTH = headerName('content-length')

export function requestHeaders(x: Exchange, m: IncomingMessage): void {
  if (x.requestState !== RequestState.START) return fail(x, GrpcStatus.INVALID_ARGUMENT, 'second request_headers')
  x.requestState = RequestState.UNDECIDED
  // The record takes the decoded view; the decoder goes on with the record's old one.
  const view = x.headers
  x.headers = m.headers
  m.headers = view
  x.contentLength = x.headers.decimal(CONTENT_LENGTH)
  if (x.contentLength > x.decider.maxBodyBytes) return refuse(x, Refusal.BODY_TOO_LARGE)
  if (x.contentLength < -1) return refuse(x, Refusal.BAD_CONTENT_LENGTH)
  const ended = m.endOfStream
  x.requestEnded = ended
  x.endsWithHeaders = ended
  const readsBody =
    !ended &&
    (x.look || x.requestMode === BodyMode.FULL_DUPLEX_STREAMED || x.requestMode === BodyMode.BUFFERED || overridable(x))
  const verdict = x.decider.requestHeaders(x, m, readsBody)
  if (verdict === Verdict.DECIDED) {
    commit(x)
    // Their bytes go back to the transport: an error that comes later must not tell what lies there then.
    if (!x.context.retainsParts) x.headers.clear()
    return
  }
  if (verdict === Verdict.DEFERRED) x.deferred = true
  if (ended || !readsBody) {
    if (verdict === Verdict.MORE) return fail(x, GrpcStatus.INTERNAL, 'no decision without a body')
    if (!x.keepHeaders()) refuse(x, Refusal.OVERLOADED)
    return
  }
  if (!x.keepHeaders()) return refuse(x, Refusal.OVERLOADED)
  if (x.requestMode === BodyMode.BUFFERED) {
    writeEmptyHeaders(x.context.out, Direction.REQUEST)
    x.headersAnswered = true
  } else if (x.requestMode === BodyMode.NONE) {
    override(x)
  }
}

function overridable(x: Exchange): boolean {
  return x.requestMode === BodyMode.NONE && x.context.modeOverride !== 'none'
}

/** Asks a gateway that sends no body for it (envoy-1.40-measured.md §1). */
function override(x: Exchange): void {
  x.modeOverridden = true
  if (x.context.modeOverride === 'buffered') {
    writeModeOverride(x.context.out, BodyMode.BUFFERED, x.responseMode, HeaderMode.DEFAULT, true)
    x.headersAnswered = true
    x.requestMode = BodyMode.BUFFERED
  } else {
    writeModeOverride(x.context.out, BodyMode.FULL_DUPLEX_STREAMED, x.responseMode, HeaderMode.SEND, false)
    x.requestMode = BodyMode.FULL_DUPLEX_STREAMED
  }
}

/** A piece of a body message; `last` = the message is complete with it, only then `ended` is known. */
export function requestBody(
  x: Exchange,
  bytes: Buffer,
  start: number,
  end: number,
  last: boolean,
  ended: boolean,
): void {
  // Envoy ≥ 1.35 may deliver the last chunk twice (#46237): nothing counts after the end.
  if (x.requestEnded || x.requestState === RequestState.ENDED) return
  if (x.requestState === RequestState.START) {
    return fail(
      x,
      GrpcStatus.INVALID_ARGUMENT,
      'request_body without request_headers: request_header_mode must be SEND',
    )
  }
  const offset = x.bodyBytes
  x.bodyBytes += end - start
  if (x.announcedBytes < x.bodyBytes) x.announcedBytes = x.bodyBytes
  if (x.bodyBytes > x.decider.maxBodyBytes) return refuse(x, Refusal.BODY_TOO_LARGE)
  if (last && ended) x.requestEnded = true
  if (x.requestState === RequestState.OPEN) return openBody(x, bytes, start, end, offset, last)

  if (last) noteMessage(x)
  let verdict: Verdict = x.verdictReady ? Verdict.DECIDED : Verdict.MORE
  if (verdict === Verdict.MORE && !x.deferred) verdict = x.decider.requestBody(x, bytes, start, end)
  if (verdict === Verdict.MORE && !x.deferred && bodyIsOver(x, last)) verdict = x.decider.requestEnd(x)
  const fullDuplex = x.requestMode === BodyMode.FULL_DUPLEX_STREAMED
  if (fullDuplex && verdict === Verdict.DECIDED && !waitsForEnd(x)) {
    // The piece that decides needs not be held: it is returned from where it lies.
    x.piece = bytes
    x.pieceStart = start
    x.pieceEnd = end
    commit(x)
    x.piece = undefined
    return
  }
  if ((fullDuplex || mayRewrite(x)) && !x.hold(bytes, start, end)) return refuse(x, Refusal.OVERLOADED)
  settle(x, verdict, last)
}

/** The body is over: by end of stream, because its one BUFFERED message is complete, or because content-length was reached. */
function bodyIsOver(x: Exchange, last: boolean): boolean {
  return (
    x.requestEnded ||
    (last && x.requestMode === BodyMode.BUFFERED) ||
    (x.look && x.contentLength >= 0 && x.bodyBytes >= x.contentLength)
  )
}

function mayRewrite(x: Exchange): boolean {
  return x.mayRewrite || x.decider.mayRewrite
}

function noteMessage(x: Exchange): void {
  x.unanswered++
  if (mayRewrite(x) && x.look) x.messageEnds.push(x.bodyBytes)
}

function settle(x: Exchange, verdict: Verdict, last: boolean): void {
  if (verdict === Verdict.DEFERRED) x.deferred = true
  if (verdict !== Verdict.DECIDED) return
  // A BUFFERED body is answered once, when all of its message is here.
  if ((x.requestMode === BodyMode.BUFFERED && !last) || (readsInParts(x) && waitsForEnd(x))) x.verdictReady = true
  else commit(x)
}

/**
 * Does a decision that is made wait for the end of the body? Of a body without content-length only the end tells that it is within the
 * cap, and a short body may be kept for retries (`Decider.retryBufferBytes`): that costs nothing, up to a window of it has been
 * sent to us anyway.
 */
export function waitsForEnd(x: Exchange): boolean {
  const { retryBufferBytes, followsResponse } = x.decider
  if (x.requestEnded || x.trailersPending || followsResponse || x.decision.immediateStatus > 0) return false
  return (x.look && x.contentLength < 0) || Math.max(x.announcedBytes, x.contentLength) <= retryBufferBytes
}

/** Look mode and FULL_DUPLEX_STREAMED: the body comes while the header answer is held. */
export function readsInParts(x: Exchange): boolean {
  return x.look || x.requestMode === BodyMode.FULL_DUPLEX_STREAMED
}

export function requestTrailers(x: Exchange): void {
  if (x.requestState === RequestState.START)
    return fail(x, GrpcStatus.INVALID_ARGUMENT, 'request_trailers without request_headers')
  if (x.requestState === RequestState.ENDED) return
  const fullDuplex = x.requestMode === BodyMode.FULL_DUPLEX_STREAMED
  if (x.requestState === RequestState.UNDECIDED) {
    // The headers are answered and no body was sent: there is no message whose answer could carry a decision.
    if (x.requestMode === BodyMode.BUFFERED && x.headersAnswered && x.unanswered === 0)
      return fail(x, GrpcStatus.INVALID_ARGUMENT, 'trailers without a body')
    x.trailersPending = true
    if (x.verdictReady) commit(x)
    else if (!x.deferred) settle(x, x.decider.requestEnd(x), true)
    return
  }
  writeTrailers(x.context.out, Direction.REQUEST)
  x.requestState = RequestState.ENDED
  if (fullDuplex && !x.decider.followsResponse) finish(x)
}

/** Writes the decision. */
export function commit(x: Exchange): void {
  const { context, decision } = x
  const { out } = context
  x.deferred = false
  if (decision.immediateStatus > 0) return immediate(x)
  x.requestState = RequestState.OPEN
  x.decidedAt = x.messages
  if (x.requestMode === BodyMode.BUFFERED && x.headersAnswered) {
    writeBufferedBody(out, decision, decision.replacements.length === 0 ? undefined : editedHeld(x))
    x.unanswered = 0
    x.dropHeld()
    if (x.trailersPending) writeTrailers(out, Direction.REQUEST)
    x.requestState = x.requestEnded || x.trailersPending ? RequestState.ENDED : RequestState.OPEN
    if (!x.decider.followsResponse) finish(x)
    return
  }
  const unretried = !x.requestEnded && readsInParts(x)
  if (decision.prepared !== undefined) {
    flush(x)
    x.stream.send(unretried ? decision.prepared.unretried : decision.prepared.bytes)
  } else {
    if (unretried && decision.unretriedIndex >= 0) decision.setValues[decision.unretriedIndex] = decision.unretriedValue
    writeRequestHeaders(out, decision, newContentLength(x))
  }
  x.headersAnswered = true
  if (x.requestMode === BodyMode.FULL_DUPLEX_STREAMED) return commitFullDuplex(x)
  if (x.look) {
    x.followsRequest = x.contentLength < 0 && !x.requestEnded
    return answerLook(x)
  }
  if (x.requestEnded || x.requestMode === BodyMode.NONE) {
    x.requestState = RequestState.ENDED
    if (!x.decider.followsResponse) finish(x)
  }
}

/** Echoes what was held and the piece under way, edited, and ends the direction where Envoy ended it. */
function commitFullDuplex(x: Exchange): void {
  const { held, decision, piece } = x
  const ends = x.requestEnded && !x.trailersPending
  const edits = decision.replacements.length > 0
  let offset = 0
  const count = held.length
  for (let i = 0; i < count; i++) {
    const whole = held[i]!
    const edited = edits ? spliceChunk(whole, offset, decision.replacements) : whole
    offset += whole.length
    const last = ends && i === count - 1 && piece === undefined
    // Pieces that an edit emptied vanish; the end of the stream does not.
    if (edited.length > 0 || last) echo(x, Direction.REQUEST, edited, 0, edited.length, last)
  }
  if (piece !== undefined) echoLent(x, piece, x.pieceStart, x.pieceEnd, offset, ends)
  else if (count === 0 && x.requestEnded && !x.endsWithHeaders) echo(x, Direction.REQUEST, EMPTY, 0, 0, true)
  x.dropHeld()
  if (x.trailersPending) writeTrailers(x.context.out, Direction.REQUEST)
  if (x.requestEnded || x.trailersPending) {
    x.requestState = RequestState.ENDED
    if (!x.decider.followsResponse) finish(x)
  }
}

/** Returns a piece that the transport has lent us, edited; `offset` of its first byte in the body. */
function echoLent(x: Exchange, bytes: Buffer, start: number, end: number, offset: number, ends: boolean): void {
  const edited = spliceAfter(x, bytes, start, end, offset)
  if (edited === undefined) {
    if (end > start || ends) echo(x, Direction.REQUEST, bytes, start, end, ends)
  } else if (edited.length > 0 || ends) echo(x, Direction.REQUEST, edited, 0, edited.length, ends)
}

/** Body that comes after the decision. */
function openBody(x: Exchange, bytes: Buffer, start: number, end: number, offset: number, last: boolean): void {
  if (x.requestMode === BodyMode.FULL_DUPLEX_STREAMED) {
    const ends = last && x.requestEnded
    echoLent(x, bytes, start, end, offset, ends)
    if (ends) {
      x.requestState = RequestState.ENDED
      if (!x.decider.followsResponse) finish(x)
    }
    return
  }
  if (x.look) {
    // A chunk that changes goes back whole: also what comes of it behind the change.
    if (x.heldOffset < lastReplacementEnd(x) && !x.hold(bytes, start, end))
      return fail(x, GrpcStatus.RESOURCE_EXHAUSTED, 'out of memory for held bytes')
    if (!last) return
    noteMessage(x)
    return answerLook(x)
  }
  if (last) writeEmptyBody(x.context.out, Direction.REQUEST)
  if (x.requestEnded) x.requestState = RequestState.ENDED
}

/**
 * Look mode after the decision: every complete chunk is answered, empty unless it changes, until nothing more of the request is
 * needed. Then, if the response is not followed either, an OK close: Envoy sends the rest by itself.
 */
function answerLook(x: Exchange): void {
  const { out } = x.context
  const lastEdit = lastReplacementEnd(x)
  if (lastEdit > x.heldOffset) {
    const held = editedChunks(x)
    for (const chunk of held) {
      if (chunk === undefined) writeEmptyBody(out, Direction.REQUEST)
      else writeChangedChunk(out, Direction.REQUEST, chunk)
      x.unanswered--
    }
    if (x.heldOffset < lastEdit) return
    x.dropHeld()
  }
  if (!x.decider.followsResponse && !x.followsRequest) {
    x.requestState = RequestState.ENDED
    return finish(x)
  }
  x.dropHeld()
  for (; x.unanswered > 0; x.unanswered--) writeEmptyBody(out, Direction.REQUEST)
  if (x.trailersPending) writeTrailers(out, Direction.REQUEST)
  else if (!x.requestEnded) return
  x.requestState = RequestState.ENDED
  if (!x.decider.followsResponse) finish(x)
}

const EMPTY = Buffer.alloc(0)
