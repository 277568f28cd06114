import type { Buffer } from 'node:buffer'
import { GrpcStatus, StreamEnd } from '../grpc/transport.ts'
import type { IncomingMessage } from './decode-request.ts'
import { Refusal } from './decider.ts'
import { Direction, writeEmptyHeaders, writeOverrideTimeout, writeResponseHeaders } from './encode-response.ts'
import { type Exchange, RequestState } from './exchange.ts'
import { refuse } from './immediate.ts'
import { BodyMode, RequestKind } from './modes.ts'
import { fail, finish, flush } from './output.ts'
import { responseBody, responseEnd, responseTrailers } from './response-side.ts'
import { commit, readsInParts, requestBody, requestHeaders, requestTrailers, waitsForEnd } from './request-side.ts'

/**
 * Envoy's protocol as a state machine: each function takes one event of a stream and writes what follows from it. Deterministic,
 * no clock, no I/O of its own. It cannot emit a spurious message: every answer is written by the state that owes it.
 */

/** A decoded message. A body that came in pieces has gone through `bodyPiece` already. */
export function message(x: Exchange, m: IncomingMessage): void {
  if (x.finished) return
  x.messages++
  if (!x.started) start(x, m)
  // Fire and forget: answers would be discarded.
  if (x.observability) return
  const { bytes } = m
  switch (m.kind) {
    case RequestKind.REQUEST_HEADERS:
      requestHeaders(x, m)
      break
    case RequestKind.REQUEST_BODY:
      if (m.metadataStart >= 0 && x.requestState === RequestState.UNDECIDED) x.decider.requestMetadata(x, m)
      requestBody(x, bytes!, m.bodyStart, m.bodyEnd, true, m.endOfStream)
      break
    case RequestKind.REQUEST_TRAILERS:
      requestTrailers(x)
      break
    case RequestKind.RESPONSE_HEADERS:
      x.decider.responseHeaders(x, m)
      if (x.responseSet.length > 0) writeResponseHeaders(x.context.out, x.responseSet)
      else writeEmptyHeaders(x.context.out, Direction.RESPONSE)
      if (m.endOfStream) responseEnd(x)
      break
    case RequestKind.RESPONSE_BODY:
      responseBody(x, bytes!, m.bodyStart, m.bodyEnd, true, m.endOfStream)
      break
    case RequestKind.RESPONSE_TRAILERS:
      responseTrailers(x, m)
      break
    default:
      // A message of a later API version: nothing we could answer without being spurious.
      break
  }
  if (!x.finished) flush(x)
}

/** A piece of a body message that is not complete yet; `left` = bytes of its body still to come. */
export function bodyPiece(
  x: Exchange,
  kind: RequestKind,
  bytes: Buffer,
  start: number,
  end: number,
  left: number,
): void {
  if (x.finished || x.observability) return
  x.messages++
  // The modes come with the first message, whose fields follow the body: without them nothing can be read safely.
  if (!x.started) return fail(x, GrpcStatus.INVALID_ARGUMENT, 'a body before any headers: header modes must be SEND')
  if (kind === RequestKind.REQUEST_BODY) {
    x.announcedBytes = x.bodyBytes + (end - start) + left
    requestBody(x, bytes, start, end, false, false)
  } else responseBody(x, bytes, start, end, false, false)
  if (!x.finished) flush(x)
}

/** The peer finished or the stream is gone. */
export function closed(x: Exchange, how: StreamEnd): void {
  if (how !== StreamEnd.HALF_CLOSED || x.finished) return
  // Before the decision an OK would let the request pass a fail-closed filter.
  if (x.requestState === RequestState.UNDECIDED) fail(x, GrpcStatus.CANCELLED, 'the peer finished before the decision')
  else finish(x)
}

/** Time passes: asks Envoy once for a longer message timeout while a body is still being read, and bounds waits and uploads. */
export function timer(x: Exchange, now: number): void {
  if (x.finished || x.observability) return
  const { decider } = x
  // Envoy opens a stream when it has something to say. Others could keep as many as they like.
  if (!x.started && now - x.startedAt >= decider.uploadIdleMs)
    return fail(x, GrpcStatus.DEADLINE_EXCEEDED, 'no message came')
  if (x.requestState !== RequestState.UNDECIDED) return
  // The end of the body did not come with the rest: a slow client, or trailers (no end of stream comes before our answer then).
  if (x.verdictReady && readsInParts(x) && ++x.readyTurns >= 2) return decided(x)
  const waited = now - x.startedAt
  // A deferred decision is bounded by whoever defers it, and the body is held back meanwhile.
  if (x.deferred || x.wasDeferred) x.deferredMs += now - x.seenAt
  if (x.deferred || x.wasDeferred || x.bodyBytes !== x.seenBytes) {
    x.seenBytes = x.bodyBytes
    x.idleSince = now
  }
  x.seenAt = now
  x.wasDeferred = x.deferred
  if (!x.deferred && (waited - x.deferredMs >= decider.uploadTimeoutMs || now - x.idleSince >= decider.uploadIdleMs))
    return refuse(x, Refusal.UPLOAD_TIMEOUT)
  const hasTimer = x.look || (x.requestMode !== BodyMode.FULL_DUPLEX_STREAMED && !x.headersAnswered)
  if (hasTimer && !x.timeoutOverridden && decider.messageTimeoutMs > 0 && waited * 2 >= decider.messageTimeoutMs) {
    x.timeoutOverridden = true
    writeOverrideTimeout(x.context.out, decider.uploadTimeoutMs + (decider.waitMs ?? 0))
    flush(x)
  }
}

/** A deferred decision has come, or one that was ready waits no longer. */
export function decided(x: Exchange): void {
  if (x.finished || x.requestState !== RequestState.UNDECIDED) return
  x.wasDeferred ||= x.deferred
  // As one that was made at once: Envoy may keep this body.
  if (!x.verdictReady && readsInParts(x) && waitsForEnd(x)) {
    x.deferred = false
    x.verdictReady = true
    // It has had its time.
    x.readyTurns = 1
    return
  }
  // The decision goes with the answer to the one BUFFERED message, which has not come.
  if (x.requestMode === BodyMode.BUFFERED && x.headersAnswered && x.unanswered === 0 && !x.trailersPending) {
    x.deferred = false
    x.verdictReady = true
    return
  }
  commit(x)
  if (!x.finished) flush(x)
}

function start(x: Exchange, m: IncomingMessage): void {
  x.started = true
  x.observability = m.observability
  x.requestMode = m.hasProtocolConfig ? m.requestBodyMode : x.context.defaultBodyMode
  x.responseMode = m.hasProtocolConfig ? m.responseBodyMode : x.context.defaultBodyMode
  // A nowait filter in BUFFERED behaves as plain BUFFERED although it announces nowait (envoy-1.40-measured.md §7).
  x.look = m.withoutWaiting && x.requestMode === BodyMode.STREAMED
}
