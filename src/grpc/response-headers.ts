/**
 * Header lists of answers. The constant ones are made once and frozen: `node:http2` copies what it changes (header objects) or
 * changes nothing (flat arrays that hold `:status`, with `sendDate` off).
 */
import type { GrpcStatus } from './transport.ts'

const CONTENT_TYPE = 'application/grpc'

/** Head of an answer that carries messages. */
export const ANSWER_HEAD: readonly string[] = Object.freeze([':status', '200', 'content-type', CONTENT_TYPE])

/** The same, telling the client what to leave out the next time. */
const NO_ENCODING = ['grpc-accept-encoding', 'identity']

/** `respond` options; a type of its own because `sendDate` is missing in @types/node. A date costs and no gRPC client reads it. */
export interface RespondOptions {
  readonly sendDate: boolean
  readonly waitForTrailers?: boolean
  readonly endStream?: boolean
}
export const BODY_FOLLOWS: RespondOptions = Object.freeze({ sendDate: false, waitForTrailers: true })
export const HEADERS_ONLY: RespondOptions = Object.freeze({ sendDate: false, endStream: true })

/** An answer that is an end: trailers-only of the gRPC specification. */
export function trailersOnly(status: GrpcStatus, message: string | undefined, refusesEncoding: boolean): string[] {
  const head = [':status', '200', 'content-type', CONTENT_TYPE, 'grpc-status', String(status)]
  if (message !== undefined && message !== '') head.push('grpc-message', encodeMessage(message))
  if (refusesEncoding) head.push(...NO_ENCODING)
  return head
}

const bareTrailers = new Map<GrpcStatus, Readonly<Record<string, string>>>()

export function trailers(status: GrpcStatus, message: string | undefined): Readonly<Record<string, string>> {
  if (message !== undefined && message !== '')
    return { 'grpc-status': String(status), 'grpc-message': encodeMessage(message) }
  let bare = bareTrailers.get(status)
  if (bare === undefined) {
    bare = Object.freeze({ 'grpc-status': String(status) })
    bareTrailers.set(status, bare)
  }
  return bare
}

/** Longest `grpc-message` we send, bytes of UTF-8: it is for people, and peers cap their headers. */
const MAX_MESSAGE_BYTES = 1024

/** Percent-encoding of `grpc-message`: everything but printable ASCII, and the percent sign itself. */
export function encodeMessage(message: string): string {
  let encoded = ''
  for (const byte of Buffer.from(message, 'utf8').subarray(0, MAX_MESSAGE_BYTES)) {
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return encoded
}
