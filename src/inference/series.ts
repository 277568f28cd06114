/**
 * The lines of a Prometheus text page (0.0.4, and the same subset of OpenMetrics), read in place. `readSeries` leaves what it found in
 * `series`, one object for all, because reading is synchronous and must not allocate. Every line that is read ends with a newline,
 * so that bytes behind it are never looked at: a page lies in a buffer that held another one before.
 */

const NEWLINE = 0x0a
const CARRIAGE_RETURN = 0x0d
const TAB = 0x09
const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const EQUALS = 0x3d
const BACKSLASH = 0x5c
const OPEN = 0x7b
const CLOSE = 0x7d
const HASH = 0x23
const POINT = 0x2e
const ZERO = 0x30
/** So many decimal digits are an exact integer in a double, and so is this power of ten: their quotient is what `Number` would say. */
const EXACT_DIGITS = 15
const POWERS_OF_TEN = Float64Array.from({ length: EXACT_DIGITS + 1 }, (_, exponent) => 10 ** exponent)

/** The series that `readSeries` read last; offsets are of its page. */
export const series = {
  labelsStart: 0,
  labelsEnd: 0,
  /** At the newline of the line. */
  end: 0,
  /** NaN when it is no number. */
  value: 0,
  /** ms; 0 = none. */
  timestamp: 0,
}

/** Of the label that `findLabel` found last: its value, still escaped. */
export const label = { start: 0, end: 0 }

/**
 * Reads the line that begins at `at` when it is a series of the family, that is `name` followed by a brace or a blank: so HELP lines and
 * longer names never match.
 */
export function readSeries(page: Buffer, name: Buffer, at: number): boolean {
  if (!startsWith(page, name, at)) return false
  const afterName = at + name.length
  let position = skipBlanks(page, afterName)
  series.labelsStart = series.labelsEnd = position
  if (page[position] === OPEN) {
    series.labelsStart = position + 1
    const close = endOfLabels(page, position + 1)
    if (close < 0) return false
    series.labelsEnd = close
    position = skipBlanks(page, close + 1)
  } else if (position === afterName) {
    return false
  }
  let end = endOfWord(page, position)
  series.value = numberIn(page, position, end)
  position = skipBlanks(page, end)
  end = endOfWord(page, position)
  const stamp = page[position] === HASH ? 0 : numberIn(page, position, end)
  series.timestamp = Number.isFinite(stamp) ? stamp : 0
  // An exemplar may follow.
  while (end < page.length && page[end] !== NEWLINE) end++
  series.end = end
  return true
}

/** Finds a label of the series read last and sets `label`. */
export function findLabel(page: Buffer, name: Buffer): boolean {
  const { labelsEnd } = series
  let at = series.labelsStart
  while (at < labelsEnd) {
    while (page[at] === COMMA || page[at] === SPACE || page[at] === TAB) at++
    const nameStart = at
    while (at < labelsEnd && page[at] !== EQUALS && page[at] !== SPACE) at++
    const nameEnd = at
    while (at < labelsEnd && page[at] !== QUOTE) at++
    const start = ++at
    while (at < labelsEnd && page[at] !== QUOTE) at += page[at] === BACKSLASH ? 2 : 1
    if (nameEnd - nameStart === name.length && startsWith(page, name, nameStart)) {
      label.start = start
      label.end = Math.min(at, labelsEnd)
      return true
    }
    at++
  }
  return false
}

/** Whether the label found last has this value, escaped as pages have it. */
export function labelIs(page: Buffer, value: Buffer): boolean {
  return label.end - label.start === value.length && startsWith(page, value, label.start)
}

/** The text as it stands between the quotes of a label. */
export function escapedLabelValue(text: string): Buffer {
  return Buffer.from(text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n'))
}

/** NaN when it is no number. Plain decimals, which nearly all are, are read without a string of them. */
export function numberIn(page: Buffer, start: number, end: number): number {
  let digits = 0
  let point = -1
  let mantissa = 0
  for (let at = start; at < end; at++) {
    const byte = page[at]!
    if (byte === POINT && point < 0) point = digits
    else {
      const digit = byte - ZERO
      if (digit < 0 || digit > 9 || ++digits > EXACT_DIGITS) return anyNumberIn(page, start, end)
      mantissa = mantissa * 10 + digit
    }
  }
  if (digits === 0) return Number.NaN
  return point < 0 ? mantissa : mantissa / POWERS_OF_TEN[digits - point]!
}

function anyNumberIn(page: Buffer, start: number, end: number): number {
  return end > start && end - start <= 32 ? Number(page.toString('latin1', start, end)) : Number.NaN
}

function skipBlanks(page: Buffer, from: number): number {
  let at = from
  while (page[at] === SPACE || page[at] === TAB) at++
  return at
}

function endOfWord(page: Buffer, from: number): number {
  let at = from
  let byte = page[at]
  while (byte !== undefined && byte !== SPACE && byte !== TAB && byte !== CARRIAGE_RETURN && byte !== NEWLINE) {
    byte = page[++at]
  }
  return at
}

/** Offset of the closing brace, −1 when the line ends first. */
function endOfLabels(page: Buffer, from: number): number {
  let quoted = false
  for (let at = from; at < page.length; at++) {
    const byte = page[at]
    if (byte === NEWLINE) return -1
    if (quoted) {
      if (byte === BACKSLASH && page[at + 1] !== NEWLINE) at++
      else if (byte === QUOTE) quoted = false
    } else if (byte === QUOTE) {
      quoted = true
    } else if (byte === CLOSE) {
      return at
    }
  }
  return -1
}

/** Whether the text stands there. */
export function startsWith(page: Buffer, text: Buffer, at: number): boolean {
  for (let i = 0; i < text.length; i++) if (page[at + i] !== text[i]) return false
  return true
}
