import { Buffer } from 'node:buffer'
import type { IncomingMessage } from './decode-request.ts'
import {
  Direction,
  writeBufferedResponse,
  writeChangedChunk,
  writeEmptyBody,
  writeTrailers,
} from './encode-response.ts'
import type { Exchange } from './exchange.ts'
import { BodyMode } from './modes.ts'
import { echo } from './output.ts'

/** The response direction of an exchange: passed on as it is, read on its way, or edited. */

/** A piece of a body message; `last` = the message is complete with it, only then `ended` is known. */
export function responseBody(
  x: Exchange,
  bytes: Buffer,
  start: number,
  end: number,
  last: boolean,
  ended: boolean,
): void {
  if (x.responseEnded) return
  const ends = last && ended
  x.responseEnds = ends
  if (x.editsResponse) editBody(x, bytes, start, end, last, ends)
  else {
    if (x.readsResponse) x.decider.responseBody!(x, bytes, start, end, ends)
    passBody(x, bytes, start, end, last, ends)
  }
  if (ends) responseEnd(x)
}

export function responseTrailers(x: Exchange, message: IncomingMessage): void {
  if (x.responseEnded) return
  x.responseEnds = true
  x.decider.responseTrailers?.(x, message)
  if (x.readsResponse) {
    const rest = x.decider.responseBody!(x, NOTHING, 0, 0, true)
    if (x.editsResponse && rest !== undefined && rest.length > 0 && isFullDuplex(x))
      echo(x, Direction.RESPONSE, rest, 0, rest.length, false)
  }
  writeTrailers(x.context.out, Direction.RESPONSE, x.responseNumbers)
  responseEnd(x)
}

export function responseEnd(x: Exchange): void {
  x.responseEnded = true
  x.decider.responseEnd(x)
}

function passBody(x: Exchange, bytes: Uint8Array, start: number, end: number, last: boolean, ends: boolean): void {
  if (isFullDuplex(x)) {
    if (end > start || ends) echo(x, Direction.RESPONSE, bytes, start, end, ends, x.responseNumbers)
  } else if (last) {
    writeEmptyBody(x.context.out, Direction.RESPONSE, x.responseNumbers)
  }
}

function editBody(x: Exchange, bytes: Buffer, start: number, end: number, last: boolean, ends: boolean): void {
  if (isFullDuplex(x)) {
    const edited = x.decider.responseBody!(x, bytes, start, end, ends)!
    return passBody(x, edited, 0, edited.length, last, ends)
  }
  // One answer a message: it is edited as a whole, and nothing is held back beyond it.
  if (!last || x.responsePieceBytes > 0) {
    if (!x.holdResponse(bytes, start, end)) {
      // Out of memory: it passes as it is.
      x.editsResponse = false
      x.readsResponse = false
      x.dropResponse()
      return passBody(x, bytes, start, end, last, ends)
    }
    if (!last) return
  }
  const whole = x.responsePieceBytes > 0 ? Buffer.concat(x.responsePieces) : bytes.subarray(start, end)
  const edited = x.decider.responseBody!(x, whole, 0, whole.length, true)!
  if (whole.equals(edited)) writeEmptyBody(x.context.out, Direction.RESPONSE, x.responseNumbers)
  else if (x.responseMode === BodyMode.BUFFERED) writeBufferedResponse(x.context.out, edited, x.responseNumbers)
  else writeChangedChunk(x.context.out, Direction.RESPONSE, edited, x.responseNumbers)
  x.dropResponse()
}

function isFullDuplex(x: Exchange): boolean {
  return x.responseMode === BodyMode.FULL_DUPLEX_STREAMED
}

const NOTHING = Buffer.alloc(0)
