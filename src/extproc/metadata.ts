import type { Buffer } from 'node:buffer'
import { WireReader } from './wire.ts'

const reader = new WireReader()

/** A length-delimited field found by `field`: its content's bounds, or `start` −1. */
let contentStart = -1
let contentEnd = -1

/** Longer lists are not read. */
export const MAX_METADATA_STRINGS = 16_384

/**
 * Reads `metadata_context.filter_metadata[namespace].fields[key]` as a list of strings: a string is split at commas (declarative
 * gateway configurations produce strings), a list gives its string members, anything else an empty list.
 * Returns undefined when namespace or key are absent. Malformed metadata count as absent; 'too-many' when there are more than
 * `MAX_METADATA_STRINGS`.
 */
export function metadataStrings(
  bytes: Buffer,
  start: number,
  end: number,
  namespace: string,
  key: string,
): string[] | 'too-many' | undefined {
  if (start < 0 || !findEntry(bytes, start, end, namespace)) return undefined
  if (!findEntry(bytes, contentStart, contentEnd, key)) return undefined
  return valueStrings(bytes, contentStart, contentEnd)
}

/**
 * Reads an attribute from an entry of `attributes` (`map<string, google.protobuf.Struct>`): a string, or undefined when there is none of
 * that name, or it is something else.
 */
export function attributeString(bytes: Buffer, start: number, end: number, name: string): string | undefined {
  if (start < 0 || field(bytes, start, end, 2) < 0) return undefined
  if (!findEntry(bytes, contentStart, contentEnd, name)) return undefined
  return field(bytes, contentStart, contentEnd, 3) < 0 ? undefined : bytes.toString('utf8', contentStart, contentEnd)
}

/** Finds the value of `key` in a `map<string, message>` that is field 1; leaves its bounds in `contentStart`/`contentEnd`. */
function findEntry(bytes: Buffer, at: number, end: number, key: string): boolean {
  while (at >= 0 && at < end) {
    at = field(bytes, at, end, 1)
    if (at < 0) return false
    const entryStart = contentStart
    const entryEnd = contentEnd
    let matches = false
    let valueStart = -1
    let valueEnd = -1
    for (let inner = entryStart; inner < entryEnd; ) {
      const tagEnd = reader.varint(bytes, inner, entryEnd)
      if (tagEnd < 0) return false
      const tag = reader.value
      const from = (tag & 7) === 2 ? reader.varint(bytes, tagEnd, entryEnd) : -1
      if (from < 0 || reader.value > entryEnd - from) return false
      if (tag >>> 3 === 1) matches = bytes.toString('utf8', from, from + reader.value) === key
      else if (tag >>> 3 === 2) {
        valueStart = from
        valueEnd = from + reader.value
      }
      inner = from + reader.value
    }
    if (matches && valueStart >= 0) {
      contentStart = valueStart
      contentEnd = valueEnd
      return true
    }
  }
  return false
}

/** The next length-delimited field `number` from `at` on; returns the position after it, −1 when there is none. */
function field(bytes: Buffer, at: number, end: number, number: number): number {
  while (at < end) {
    at = reader.varint(bytes, at, end)
    if (at < 0) return -1
    const tag = reader.value
    if (tag === ((number << 3) | 2)) {
      const from = reader.varint(bytes, at, end)
      if (from < 0 || reader.value > end - from) return -1
      contentStart = from
      contentEnd = from + reader.value
      return contentEnd
    }
    at = reader.skip(bytes, tag, at, end)
    if (at < 0) return -1
  }
  return -1
}

/** `google.protobuf.Value`: string_value 3, list_value 6. */
function valueStrings(bytes: Buffer, start: number, end: number): string[] | 'too-many' {
  if (field(bytes, start, end, 3) >= 0) {
    if (commas(bytes, contentStart, contentEnd) >= MAX_METADATA_STRINGS) return 'too-many'
    return bytes
      .toString('utf8', contentStart, contentEnd)
      .split(',')
      .map(part => part.trim())
      .filter(part => part !== '')
  }
  if (field(bytes, start, end, 6) < 0) return []
  const strings: string[] = []
  const listEnd = contentEnd
  for (let at = contentStart; at < listEnd; ) {
    at = field(bytes, at, listEnd, 1)
    if (at < 0) break
    if (strings.length === MAX_METADATA_STRINGS) return 'too-many'
    if (field(bytes, contentStart, contentEnd, 3) >= 0) strings.push(bytes.toString('utf8', contentStart, contentEnd))
  }
  return strings
}

function commas(bytes: Buffer, start: number, end: number): number {
  let count = 0
  for (let at = bytes.indexOf(COMMA, start); at >= 0 && at < end; at = bytes.indexOf(COMMA, at + 1)) count++
  return count
}

const COMMA = 0x2c
