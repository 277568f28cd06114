import { Buffer } from 'node:buffer'
import { spliceChunk, spliceDelta } from '../body/splice.ts'
import type { Exchange } from './exchange.ts'

/** A decision's replacements, applied to what is held of the body and to what still comes. */

export function lastReplacementEnd(x: Exchange): number {
  const { replacements } = x.decision
  return replacements.length === 0 ? -1 : replacements[replacements.length - 1]!.end
}

/** The piece edited, or undefined when no replacement touches it. */
export function spliceAfter(
  x: Exchange,
  bytes: Buffer,
  start: number,
  end: number,
  offset: number,
): Uint8Array | undefined {
  if (offset >= lastReplacementEnd(x)) return undefined
  return spliceChunk(bytes.subarray(start, end), offset, x.decision.replacements)
}

/** Takes the complete look-mode messages out of the held bytes: edited bytes for those that change, undefined for the others. */
export function editedChunks(x: Exchange): (Uint8Array | undefined)[] {
  const chunks: (Uint8Array | undefined)[] = []
  const { replacements } = x.decision
  const whole = x.held.length === 1 ? x.held[0]! : Buffer.concat(x.held)
  let at = 0
  for (const messageEnd of x.messageEnds) {
    const size = messageEnd - x.heldOffset
    const chunk = whole.subarray(at, at + size)
    const edited = spliceChunk(chunk, x.heldOffset, replacements)
    chunks.push(edited === chunk ? undefined : edited)
    at += size
    x.heldOffset = messageEnd
  }
  x.messageEnds.length = 0
  x.giveHeld(at)
  x.held.length = 0
  if (at < whole.length) x.held.push(whole.subarray(at))
  return chunks
}

/** All that is held, edited: a BUFFERED body. */
export function editedHeld(x: Exchange): Buffer {
  const { replacements } = x.decision
  const whole = x.held.length === 1 ? x.held[0]! : Buffer.concat(x.held)
  const edited = spliceChunk(whole, 0, replacements)
  return Buffer.isBuffer(edited) ? edited : Buffer.from(edited)
}

/**
 * What the header answer says of content-length: −1 nothing, −2 remove it. A changed body gets the exact new length; after a
 * mode override Envoy would keep the old one unchecked and ignore ours, which smuggles bytes (envoy-1.40-measured.md G): removed.
 */
export function newContentLength(x: Exchange): number {
  if (x.decision.replacements.length === 0) return -1
  const delta = spliceDelta(x.decision.replacements)
  if (x.modeOverridden) return -2
  if (delta === 0 || x.contentLength < 0) return -1
  return x.contentLength + delta
}
