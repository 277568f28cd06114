import { Buffer } from 'node:buffer'
import type { Decision } from './decision.ts'
import { writeHeaderMutation, writeSetHeader } from './encode-headers.ts'
import { type MetadataNumbers, writeMetadata, writeNumbers } from './encode-metadata.ts'
import { HeaderMode } from './modes.ts'
import { type WireWriter, varintBytes } from './wire.ts'

/**
 * Hand encoder of `envoy.service.ext_proc.v3.ProcessingResponse` (numbers: envoy-xds-istio.md §1.3). Every function appends
 * one length-prefixed gRPC message to the writer. Answers of our own are in ./encode-immediate.ts. Checked against protobuf-es and
 * protobufjs.
 *
 * Budget: a header answer with four headers and metadata in about 1.2 µs; constants for everything that carries nothing.
 */

/** Field numbers in `ProcessingResponse`. */
const Answer = {
  REQUEST_HEADERS: 1,
  RESPONSE_HEADERS: 2,
  REQUEST_BODY: 3,
  RESPONSE_BODY: 4,
  REQUEST_TRAILERS: 5,
  RESPONSE_TRAILERS: 6,
  MODE_OVERRIDE: 9,
  OVERRIDE_MESSAGE_TIMEOUT: 10,
} as const

/** The request or the response: the oneof's numbers follow the direction. */
export const Direction = { REQUEST: 0, RESPONSE: 1 } as const
export type Direction = (typeof Direction)[keyof typeof Direction]

/** A message with only `CommonResponse{}` inside field `kind`: four bytes. */
function empty(kind: number): Buffer {
  return Buffer.from([0, 0, 0, 0, 4, (kind << 3) | 2, 2, 0x0a, 0])
}

const EMPTY_HEADERS = [empty(Answer.REQUEST_HEADERS), empty(Answer.RESPONSE_HEADERS)] as const
const EMPTY_BODY = [empty(Answer.REQUEST_BODY), empty(Answer.RESPONSE_BODY)] as const
const EMPTY_TRAILERS = [
  Buffer.from([0, 0, 0, 0, 2, (Answer.REQUEST_TRAILERS << 3) | 2, 0]),
  Buffer.from([0, 0, 0, 0, 2, (Answer.RESPONSE_TRAILERS << 3) | 2, 0]),
] as const

export function writeEmptyHeaders(out: WireWriter, direction: Direction): void {
  out.raw(EMPTY_HEADERS[direction])
}

export function writeEmptyBody(out: WireWriter, direction: Direction, numbers?: MetadataNumbers): void {
  if (numbers === undefined) return out.raw(EMPTY_BODY[direction])
  out.beginMessage()
  out.open(Answer.REQUEST_BODY + direction)
  out.open(1)
  out.close()
  out.close()
  writeNumbers(out, numbers)
  out.endMessage()
}

export function writeTrailers(out: WireWriter, direction: Direction, numbers?: MetadataNumbers): void {
  if (numbers === undefined) return out.raw(EMPTY_TRAILERS[direction])
  out.beginMessage()
  out.open(Answer.REQUEST_TRAILERS + direction)
  out.close()
  writeNumbers(out, numbers)
  out.endMessage()
}

/** The request-header answer of a decision that lets the request go on. `contentLength` −1 = leave, −2 = remove. */
export function writeRequestHeaders(out: WireWriter, decision: Decision, contentLength: number): void {
  out.beginMessage()
  out.open(Answer.REQUEST_HEADERS)
  out.open(1)
  writeHeaderMutation(out, decision, contentLength)
  if (decision.clearRouteCache) out.uint(5, 1)
  out.close()
  out.close()
  writeMetadata(out, decision)
  out.endMessage()
}

/** The response-header answer that sets headers: `pairs` has names and values in turns. */
export function writeResponseHeaders(out: WireWriter, pairs: readonly string[]): void {
  out.beginMessage()
  out.open(Answer.RESPONSE_HEADERS)
  out.open(1)
  out.open(2)
  for (let i = 0; i < pairs.length; i += 2) writeSetHeader(out, pairs[i]!, pairs[i + 1]!)
  out.close()
  out.close()
  out.close()
  out.endMessage()
}

/** The answer to a BUFFERED body: carries the decision; `body` replaces the whole body when given. */
export function writeBufferedBody(out: WireWriter, decision: Decision, body: Uint8Array | undefined): void {
  out.beginMessage()
  out.open(Answer.REQUEST_BODY)
  out.open(1)
  writeHeaderMutation(out, decision, body === undefined ? -1 : body.length)
  if (body !== undefined) {
    out.open(3)
    out.bytes(1, body)
    out.close()
  }
  if (decision.clearRouteCache) out.uint(5, 1)
  out.close()
  out.close()
  writeMetadata(out, decision)
  out.endMessage()
}

/** The answer to a BUFFERED response body that changes. */
export function writeBufferedResponse(out: WireWriter, body: Uint8Array, numbers?: MetadataNumbers): void {
  out.beginMessage()
  out.open(Answer.RESPONSE_BODY)
  out.open(1)
  out.open(2)
  writeSetHeader(out, 'content-length', String(body.length))
  out.close()
  out.open(3)
  out.bytes(1, body)
  out.close()
  out.close()
  out.close()
  if (numbers !== undefined) writeNumbers(out, numbers)
  out.endMessage()
}

/** The answer to one STREAMED chunk that changes. An emptied chunk is `clear_body`: an empty `body` would mean "unchanged". */
export function writeChangedChunk(
  out: WireWriter,
  direction: Direction,
  body: Uint8Array,
  numbers?: MetadataNumbers,
): void {
  out.beginMessage()
  out.open(Answer.REQUEST_BODY + direction)
  out.open(1)
  out.open(3)
  if (body.length === 0) out.uint(2, 1)
  else out.bytes(1, body)
  out.close()
  out.close()
  out.close()
  if (numbers !== undefined) writeNumbers(out, numbers)
  out.endMessage()
}

/** Everything before the bytes of a `streamed_response` chunk: the caller sends `length` bytes of body right after. */
export function writeStreamedHead(
  out: WireWriter,
  direction: Direction,
  length: number,
  endOfStream: boolean,
  numbers?: MetadataNumbers,
): void {
  const eos = endOfStream ? 2 : 0
  const streamed = (length > 0 ? 1 + varintBytes(length) + length : 0) + eos
  const mutation = 1 + varintBytes(streamed) + streamed
  const common = 1 + varintBytes(mutation) + mutation
  const body = 1 + varintBytes(common) + common
  out.beginMessage()
  // As `end_of_stream` below: first, so that nothing follows the body's bytes.
  if (numbers !== undefined) writeNumbers(out, numbers)
  out.varint(((Answer.REQUEST_BODY + direction) << 3) | 2)
  out.varint(body)
  out.varint((1 << 3) | 2)
  out.varint(common)
  out.varint((3 << 3) | 2)
  out.varint(mutation)
  out.varint((3 << 3) | 2)
  out.varint(streamed)
  // protobuf does not care about the order of fields: end_of_stream goes first, so that nothing follows the body's bytes.
  if (endOfStream) out.uint(2, 1)
  if (length > 0) {
    out.varint((1 << 3) | 2)
    out.varint(length)
  }
  out.endMessage(length)
}

/** `override_message_timeout` alone: every other field of such a message is ignored by Envoy. */
export function writeOverrideTimeout(out: WireWriter, milliseconds: number): void {
  out.beginMessage()
  out.open(Answer.OVERRIDE_MESSAGE_TIMEOUT)
  const seconds = Math.floor(milliseconds / 1000)
  if (seconds > 0) out.uint(1, seconds)
  const nanos = (milliseconds % 1000) * 1_000_000
  if (nanos > 0) out.uint(2, nanos)
  out.close()
  out.endMessage()
}

/**
 * `mode_override`. `withHeaders` = together with an empty header answer; else alone before it (Envoy 1.40: only to FULL_DUPLEX_STREAMED).
 * Body modes are always written as meant: Envoy takes an omitted one as NONE.
 */
export function writeModeOverride(
  out: WireWriter,
  requestBody: number,
  responseBody: number,
  trailers: HeaderMode,
  withHeaders: boolean,
): void {
  out.beginMessage()
  if (withHeaders) {
    out.open(Answer.REQUEST_HEADERS)
    out.open(1)
    out.close()
    out.close()
  }
  out.open(Answer.MODE_OVERRIDE)
  if (requestBody > 0) out.uint(3, requestBody)
  if (responseBody > 0) out.uint(4, responseBody)
  if (trailers !== HeaderMode.DEFAULT) out.uint(5, trailers)
  out.close()
  out.endMessage()
}
