/**
 * Skips to the end of a JSON string. Text of a prompt or a base64 image is most of a body, so this is where the bytes go by:
 * the first bytes by a loop (a native call costs more than a short string), the rest by memchr. Nothing is checked in what is
 * skipped.
 */

/** The chunk ended inside the string. */
export const STRING_OPEN = -1
/** The chunk ended inside the string, right after the backslash of an escape. */
export const STRING_OPEN_IN_ESCAPE = -2

const QUOTE = 0x22
const BACKSLASH = 0x5c
/** A string longer than this is worth a call of memchr. */
const NEAR = 32
/** How far memchr may run beyond `end` into bytes that are not ours before a bounded view is the cheaper way. */
const OVERRUN = 4096

/** `Buffer`'s search is memchr; that of `Uint8Array` is not, and chunks may be either. */
const indexOf = Buffer.prototype.indexOf

/**
 * @param p first byte inside the string that was not seen yet, below `end`
 * @param inEscape the byte at `p` is escaped by a backslash in the chunk before
 * @returns the position after the closing quote, `STRING_OPEN` or `STRING_OPEN_IN_ESCAPE`
 */
export function skipString(chunk: Uint8Array, p: number, end: number, inEscape: boolean): number {
  let at = inEscape ? p + 1 : p
  for (;;) {
    const near = Math.min(at + NEAR, end)
    while (at < near) {
      const byte = chunk[at]
      if (byte === QUOTE) return at + 1
      at += byte === BACKSLASH ? 2 : 1
    }
    if (at >= end) return at > end ? STRING_OPEN_IN_ESCAPE : STRING_OPEN
    const quote = findQuote(chunk, at, end)
    if (!endsInEscape(chunk, at, quote)) return quote === end ? STRING_OPEN : quote + 1
    if (quote === end) return STRING_OPEN_IN_ESCAPE
    at = quote + 1
  }
}

/** Position of the first quote in `from … end`, or `end`. */
function findQuote(chunk: Uint8Array, from: number, end: number): number {
  const bounded = chunk.length - end > OVERRUN ? chunk.subarray(0, end) : chunk
  const quote = indexOf.call(bounded, QUOTE, from)
  return quote === -1 || quote > end ? end : quote
}

/** Whether an odd number of backslashes stands before `at`, none of them before `from`. */
function endsInEscape(chunk: Uint8Array, from: number, at: number): boolean {
  let first = at
  while (first > from && chunk[first - 1] === BACKSLASH) first--
  return ((at - first) & 1) === 1
}
