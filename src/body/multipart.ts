/**
 * Incremental multipart/form-data scanner (RFC 7578): finds the value of one text field, as `model` of `/v1/audio/transcriptions`,
 * without keeping the body. Files are skipped by the native search for the delimiter.
 *
 * Strict where readers of a form disagree: lines end with CRLF, a delimiter is followed by CRLF or `--`, part headers are
 * unambiguous. Otherwise the body is INVALID. Text before the first and after the last delimiter is ignored.
 */
import { isUtf8 } from 'node:buffer'
import { multipartBoundary, parsePartHeaders } from './multipart-header.ts'
import { ScanState } from './scan-state.ts'

export interface MultipartLimits {
  /** Of the wanted field. Default 4096. */
  readonly maxValueBytes?: number
  /** Of one part's headers. Default 8192. */
  readonly maxHeaderBytes?: number
  /** Default 1000. */
  readonly maxParts?: number
}

/**
 * - `no_boundary`: what `begin` refused.
 * - `bad_delimiter`, `bad_part_header`, `unexpected_end`: no multipart/form-data, or one that readers understand differently.
 * - `encoded_value`: the wanted field has a content-transfer-encoding.
 * - `header_too_long`, `too_many_parts`: a limit.
 */
export type MultipartErrorCode =
  | 'no_boundary'
  | 'bad_delimiter'
  | 'bad_part_header'
  | 'encoded_value'
  | 'header_too_long'
  | 'too_many_parts'
  | 'unexpected_end'

export interface MultipartError {
  readonly code: MultipartErrorCode
  /** Byte of the body; for headers that of their first byte. */
  readonly offset: number
}

// Where the scanner stands.
const CONTENT = 0
/** Right after `CRLF--boundary`. */
const AFTER_DELIMITER = 1
const CLOSING_DASH = 2
const PADDING = 3
const DELIMITER_LF = 4
const HEADERS = 5
const CLOSED = 6
const FAILED = 7

const CR = 0x0d
const LF = 0x0a
const DASH = 0x2d
const NONE = Buffer.alloc(0)
const HEADERS_END = Buffer.from('\r\n\r\n')

const indexOf = Buffer.prototype.indexOf

/** Reads one body after the other (`begin`); keeps no reference to a chunk. */
export class MultipartField {
  readonly #maxValueBytes: number
  readonly #maxHeaderBytes: number
  readonly #maxParts: number
  #field = ''
  #delimiter: Buffer = NONE

  #state = CONTENT
  #offset = 0
  #error: MultipartError | undefined
  /** Bytes of the delimiter that the body read so far ends with. The first delimiter needs no CRLF before it. */
  #matched = 2
  #parts = 0
  #headers = ''
  #headersOffset = 0

  /** Inside the first text part of the field. */
  #capturing = false
  #tooLong = false
  #value: Buffer = NONE
  #valueBytes = 0
  #start = -1
  #end = -1
  #count = 0

  constructor(limits: MultipartLimits = {}) {
    this.#maxValueBytes = limits.maxValueBytes ?? 4096
    this.#maxHeaderBytes = limits.maxHeaderBytes ?? 8192
    this.#maxParts = limits.maxParts ?? 1000
  }

  /** Starts a body. False: its content type is not multipart/form-data with one valid boundary, so that it cannot be read. */
  begin(contentType: string, field: string): boolean {
    const boundary = multipartBoundary(contentType)
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
    this.#field = field
    this.#state = CONTENT
    this.#offset = 0
    this.#error = undefined
    this.#matched = 2
    this.#parts = 0
    this.#headers = ''
    this.#capturing = false
    this.#tooLong = false
    this.#valueBytes = 0
    this.#start = -1
    this.#end = -1
    this.#count = 0
    if (boundary === undefined) this.#fail('no_boundary', 0)
    return boundary !== undefined
  }

  get error(): MultipartError | undefined {
    return this.#error
  }

  /** Bytes fed in all. */
  get offset(): number {
    return this.#offset
  }

  /** Parts of the field's name, files among them: more than one, or one without a value, means that readers may disagree. */
  get count(): number {
    return this.#count
  }

  /** Offset of the value of the first text part of that name; -1: absent. */
  get start(): number {
    return this.#start
  }

  /** Offset after its last byte; -1: not complete. */
  get end(): number {
    return this.#end
  }

  get complete(): boolean {
    return this.#end !== -1
  }

  get tooLong(): boolean {
    return this.#tooLong
  }

  /** Whether the complete value is UTF-8. */
  get isUtf8(): boolean {
    return isUtf8(this.#value.subarray(0, this.#valueBytes))
  }

  /** The complete value, invalid UTF-8 as U+FFFD; empty when too long. It may hold any character, line breaks and NUL too. */
  get text(): string {
    return this.complete && !this.#tooLong ? this.#value.toString('utf8', 0, this.#valueBytes) : ''
  }

  /** Scans `start … end` of the chunk. DONE after the closing delimiter, whatever follows; INVALID is final. */
  feed(chunk: Uint8Array, start = 0, end = chunk.length): ScanState {
    if (this.#state === FAILED) {
      this.#offset += end - start
      return ScanState.INVALID
    }
    const view = end === chunk.length ? chunk : chunk.subarray(0, end)
    const base = this.#offset - start
    this.#offset += end - start
    let p = start
    while (p < end && this.#state < CLOSED) p = this.#step(view, p, base)
    if (this.#error !== undefined) return ScanState.INVALID
    return this.#state === CLOSED ? ScanState.DONE : ScanState.MORE
  }

  /** The body is over: INVALID unless DONE. */
  finish(): ScanState {
    if (this.#state === CLOSED) return ScanState.DONE
    if (this.#state !== FAILED) this.#fail('unexpected_end', this.#offset)
    return ScanState.INVALID
  }

  /** Reads on at `p`, which is inside the chunk; returns the next position. */
  #step(chunk: Uint8Array, p: number, base: number): number {
    const byte = chunk[p]
    switch (this.#state) {
      case CONTENT:
        return this.#content(chunk, p, base)
      case AFTER_DELIMITER:
        this.#state = byte === DASH ? CLOSING_DASH : PADDING
        return byte === DASH ? p + 1 : p
      case CLOSING_DASH:
        if (byte !== DASH) return this.#fail('bad_delimiter', base + p)
        this.#state = CLOSED
        return p + 1
      case PADDING:
        // White space that a gateway may have added (RFC 2046 §5.1.1).
        if (byte === CR) this.#state = DELIMITER_LF
        else if (byte !== 0x20 && byte !== 0x09) return this.#fail('bad_delimiter', base + p)
        return p + 1
      case DELIMITER_LF:
        if (byte !== LF) return this.#fail('bad_delimiter', base + p)
        if (++this.#parts > this.#maxParts) return this.#fail('too_many_parts', base + p)
        // So that the end of the headers is found by one search, also when there are none.
        this.#headers = '\r\n'
        this.#headersOffset = base + p + 1
        this.#state = HEADERS
        return p + 1
      default:
        return this.#readHeaders(chunk, p, base)
    }
  }

  /** Looks for the delimiter in the content of a part (or before the first one). */
  #content(chunk: Uint8Array, start: number, base: number): number {
    const delimiter = this.#delimiter
    let p = start
    while (this.#matched > 0 && this.#matched < delimiter.length) {
      if (p === chunk.length) return p
      if (chunk[p] === delimiter[this.#matched]) {
        this.#matched++
        p++
        continue
      }
      // CR begins the delimiter and stands nowhere else in it, so what had matched is content.
      if (this.#capturing) this.#capture(delimiter, 0, this.#matched)
      this.#matched = 0
    }
    if (this.#matched === 0) {
      const found: number = indexOf.call(chunk, delimiter, p)
      if (found === -1) {
        const tail = partialMatch(chunk, p, delimiter)
        if (this.#capturing) this.#capture(chunk, p, chunk.length - tail)
        this.#matched = tail
        return chunk.length
      }
      if (this.#capturing) this.#capture(chunk, p, found)
      p = found + delimiter.length
    }
    this.#matched = 0
    this.#state = AFTER_DELIMITER
    if (this.#capturing) {
      this.#capturing = false
      this.#end = base + p - delimiter.length
    }
    return p
  }

  #readHeaders(chunk: Uint8Array, start: number, base: number): number {
    // Looked at in small steps: headers are short, and the limit holds whatever the chunks are.
    const before = this.#headers.length
    const piece = Buffer.from(chunk.buffer, chunk.byteOffset + start, Math.min(chunk.length - start, 512))
    this.#headers += piece.toString('latin1')
    const found = this.#headers.indexOf('\r\n\r\n', Math.max(0, before - HEADERS_END.length + 1))
    const bytes = found === -1 ? this.#headers.length - 2 : found + 2
    if (bytes > this.#maxHeaderBytes) return this.#fail('header_too_long', this.#headersOffset)
    if (found === -1) return start + piece.length
    const p = start + found + HEADERS_END.length - before
    const text = Buffer.from(this.#headers.slice(2, Math.max(2, found)), 'latin1').toString('utf8')
    this.#headers = ''
    return this.#beginPart(text, base + p) ? p : chunk.length
  }

  /** The content of a part begins at `offset`. */
  #beginPart(headers: string, offset: number): boolean {
    const part = parsePartHeaders(headers)
    if (part === undefined) {
      this.#fail('bad_part_header', this.#headersOffset)
      return false
    }
    this.#state = CONTENT
    // An empty content has the CRLF of the delimiter right here, so nothing is matched yet.
    this.#matched = 0
    if (!part.names.includes(this.#field)) return true
    if (!part.isPlain) {
      this.#fail('encoded_value', this.#headersOffset)
      return false
    }
    this.#count++
    if (part.isFile || this.#start !== -1) return true
    this.#start = offset
    this.#capturing = true
    return true
  }

  #capture(bytes: Uint8Array, start: number, end: number): void {
    if (this.#tooLong) return
    if (this.#valueBytes + end - start > this.#maxValueBytes) {
      this.#tooLong = true
      return
    }
    // Most bodies are JSON, so that most of these objects never need it.
    if (this.#value.length === 0) this.#value = Buffer.allocUnsafe(this.#maxValueBytes)
    this.#value.set(bytes.subarray(start, end), this.#valueBytes)
    this.#valueBytes += end - start
  }

  #fail(code: MultipartErrorCode, offset: number): number {
    this.#state = FAILED
    this.#error = { code, offset }
    return -1
  }
}

/** How many bytes at the end of the chunk, from `from` on, are the beginning of the delimiter. */
function partialMatch(chunk: Uint8Array, from: number, delimiter: Uint8Array): number {
  let at = Math.max(from, chunk.length - delimiter.length + 1)
  at = indexOf.call(chunk, CR, at)
  while (at !== -1) {
    let same = 1
    while (at + same < chunk.length && chunk[at + same] === delimiter[same]) same++
    if (at + same === chunk.length) return same
    at = indexOf.call(chunk, CR, at + 1)
  }
  return 0
}
