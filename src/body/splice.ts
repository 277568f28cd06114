/** Edits a body by absolute byte offsets while it passes in chunks; everything outside the edits stays the bytes that came. */

/** The bytes `start … end` of the original body become `bytes`. `start === end` inserts, empty `bytes` deletes. */
export interface Replacement {
  readonly start: number
  readonly end: number
  readonly bytes: Uint8Array
}

/**
 * The edited bytes of one chunk: the chunk itself when no edit touches it, else a new array (possibly empty). New bytes come out
 * with the chunk that holds their `start`, so that concatenating the results of all chunks gives the edited body.
 *
 * @param offset of the chunk's first byte in the original body
 * @param replacements as `spliceDelta` takes them
 * @param last the body ends with this chunk: insertions at its very end come out too
 */
export function spliceChunk(
  chunk: Uint8Array,
  offset: number,
  replacements: readonly Replacement[],
  last = false,
): Uint8Array {
  const chunkEnd = offset + chunk.length
  let parts: Uint8Array[] | undefined
  let kept = offset
  for (const { start, end, bytes } of replacements) {
    const startsHere = start >= offset && (start < chunkEnd || (last && start === chunkEnd))
    if (!startsHere && (end <= offset || start >= chunkEnd)) continue
    parts ??= []
    if (start > kept) parts.push(chunk.subarray(kept - offset, start - offset))
    if (startsHere) parts.push(bytes)
    kept = Math.max(kept, Math.min(end, chunkEnd))
  }
  if (parts === undefined) return chunk
  parts.push(chunk.subarray(kept - offset))
  return Buffer.concat(parts)
}

/**
 * By how many bytes the edited body is longer (negative: shorter).
 *
 * @param replacements ordered by `start`, not overlapping; insertions at one offset come out in their order
 * @throws RangeError for another order, or for offsets that are no whole numbers from 0 on
 */
export function spliceDelta(replacements: readonly Replacement[]): number {
  let last = 0
  let delta = 0
  for (const { start, end, bytes } of replacements) {
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < last || end < start)
      throw new RangeError(`replacement ${start}…${end} does not follow offset ${last}`)
    last = end
    delta += bytes.length - (end - start)
  }
  return delta
}

/** The JSON string of a text, with its quotes. A lone surrogate is escaped, so that the result is always valid UTF-8. */
export function jsonString(text: string): Uint8Array {
  return Buffer.from(JSON.stringify(text))
}
