/**
 * Incremental reader of HTTP/1.1 responses for the scraper: status, framing (content-length, chunked, until close). The
 * body goes on as it comes, so that nothing is kept of a page. Own code because `scrape.bench.ts` says so: with a socket that reads
 * into a shared buffer a scrape of 30 KB costs about a third of what undici needs, and nothing is allocated.
 *
 * Strict where leniency would desynchronise the connection (framing), lenient elsewhere. Bodies with a content-encoding are
 * refused: none is ever asked for.
 */

const HEAD_LIMIT = 16 * 1024
const CHUNK_LINE_LIMIT = 256
/** Of what a response has before its head and after its body: interim responses, trailers; each in all. */
const EXTRA_LIMIT = 16 * 1024

const NEWLINE = 0x0a
const CARRIAGE_RETURN = 0x0d
const SPACE = 0x20
const COLON = 0x3a
const ZERO = 0x30
const ONE = 0x31
const VERSION = Buffer.from('HTTP/1.')
const MINOR_VERSION_AT = VERSION.length
/** After the version and a blank. */
const STATUS_AT = MINOR_VERSION_AT + 2
const STATUS_END = STATUS_AT + 3
/** Of the headers that count. */
const NAME_LENGTHS: ReadonlySet<number> = new Set(
  ['content-length', 'transfer-encoding', 'content-encoding', 'connection'].map(name => name.length),
)
/** Bytes of a head's end, but the last. */
const LONGEST_HEAD_END = 3

/** Who takes the body. */
export interface BodySink {
  /** Bytes of the body; `bytes` is valid during the call only. */
  take(bytes: Buffer, start: number, end: number): void
}

/** The response can't be used and the connection must be closed. */
export class HttpReadError extends Error {
  readonly code: 'malformed' | 'too-large' | 'closed'
  constructor(code: HttpReadError['code'], message: string) {
    super(message)
    this.name = 'HttpReadError'
    this.code = code
  }
}

type State = 'head' | 'length' | 'chunk-size' | 'chunk-data' | 'chunk-end' | 'trailers' | 'until-close' | 'done'

const NOWHERE: BodySink = { take: () => {} }

export class HttpResponseReader {
  status = 0
  /** Whether the connection may carry another request; valid when done. */
  keepAlive = false
  /** Bytes of the body so far. */
  length = 0

  #state: State = 'done'
  #sink: BodySink = NOWHERE
  #limit = 0
  #remaining = 0
  /** A head that has not ended yet: `#held` bytes of it. */
  #head = Buffer.alloc(0)
  #held = 0
  /** Chunk line that has not ended yet. */
  #line = ''
  /** Bytes of interim responses, or of trailers. */
  #extra = 0

  /** Starts over for the next response, whose body may have up to `limit` bytes. Only the body of a 200 goes to the sink. */
  reset(limit: number, sink: BodySink): void {
    this.#sink = sink
    this.status = 0
    this.keepAlive = false
    this.length = 0
    this.#limit = limit
    this.#state = 'head'
    this.#line = ''
    this.#held = 0
    this.#extra = 0
  }

  /** Whether bytes of the current response have come. */
  get begun(): boolean {
    return this.#state !== 'head' || this.#held > 0
  }

  /** Takes bytes; true when the response is complete. Throws HttpReadError. */
  push(bytes: Buffer, start: number, end: number): boolean {
    let at = start
    while (at < end) {
      switch (this.#state) {
        case 'head':
          at = this.#readHead(bytes, at, end)
          break
        case 'length':
        case 'chunk-data':
        case 'until-close':
          at = this.#readBody(bytes, at, end)
          break
        case 'chunk-size':
        case 'chunk-end':
        case 'trailers':
          at = this.#readChunkLine(bytes, at, end)
          break
        case 'done':
          // Nothing was asked for: what follows can't belong to a request of ours.
          this.keepAlive = false
          return true
      }
    }
    return this.#state === 'done'
  }

  /** The peer closed the connection. Returns when that completes the response, else throws HttpReadError. */
  close(): void {
    this.keepAlive = false
    if (this.#state === 'until-close') this.#state = 'done'
    if (this.#state !== 'done') throw new HttpReadError('closed', 'connection closed before the response was complete')
  }

  #readHead(bytes: Buffer, start: number, end: number): number {
    const held = this.#held
    if (held === 0) {
      const stop = endOfHead(bytes, start, Math.min(end, start + HEAD_LIMIT))
      if (stop >= 0) {
        this.#parseHead(bytes, start, stop)
        return stop
      }
    }
    const length = held + Math.min(end - start, HEAD_LIMIT - held)
    if (length > this.#head.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(HEAD_LIMIT, 2 * length))
      this.#head.copy(larger, 0, 0, held)
      this.#head = larger
    }
    bytes.copy(this.#head, held, start, start + length - held)
    const stop = endOfHead(this.#head, Math.max(0, held - LONGEST_HEAD_END), length)
    if (stop < 0) {
      if (length >= HEAD_LIMIT) throw new HttpReadError('too-large', 'response head over 16 KiB')
      this.#held = length
      return end
    }
    this.#held = 0
    this.#parseHead(this.#head, 0, stop)
    return start + stop - held
  }

  /** A head with the empty line at its end. */
  #parseHead(head: Buffer, start: number, end: number): void {
    let next = head.indexOf(NEWLINE, start) + 1
    const status = statusIn(head, start, endOfLine(head, start, next))
    if (status < 0) throw new HttpReadError('malformed', 'not an HTTP/1 response')
    this.status = status
    // Informational responses precede the real one.
    if (status < 200 && status !== 101) return this.#countExtra(end - start)
    this.#extra = 0
    this.keepAlive = head[start + MINOR_VERSION_AT] === ONE
    let contentLength = -1
    let chunked = false
    for (;;) {
      const from = next
      next = head.indexOf(NEWLINE, from) + 1
      const to = endOfLine(head, from, next)
      if (to === from) break
      let colon = from
      while (colon < to && head[colon] !== COLON) colon++
      if (colon === from || colon === to) throw new HttpReadError('malformed', 'header without a name')
      if (!NAME_LENGTHS.has(colon - from)) continue
      const value = head.toString('latin1', colon + 1, to).trim()
      switch (head.toString('latin1', from, colon).toLowerCase()) {
        case 'content-length':
          if (!/^\d{1,15}$/.test(value) || (contentLength >= 0 && contentLength !== Number(value))) {
            throw new HttpReadError('malformed', 'bad content-length')
          }
          contentLength = Number(value)
          break
        case 'transfer-encoding':
          if (value.toLowerCase() !== 'chunked') throw new HttpReadError('malformed', `transfer-encoding ${value}`)
          chunked = true
          break
        case 'content-encoding':
          if (value.toLowerCase() !== 'identity') throw new HttpReadError('malformed', `content-encoding ${value}`)
          break
        case 'connection': {
          const options = value.toLowerCase()
          if (options.includes('close')) this.keepAlive = false
          else if (options.includes('keep-alive')) this.keepAlive = true
          break
        }
      }
    }
    if (chunked) {
      if (contentLength >= 0) this.keepAlive = false
      this.#state = 'chunk-size'
    } else if (contentLength === 0 || this.status === 204 || this.status === 304) {
      this.#state = 'done'
    } else if (contentLength > 0) {
      if (contentLength > this.#limit) throw this.#tooLarge()
      this.#remaining = contentLength
      this.#state = 'length'
    } else {
      this.keepAlive = false
      this.#remaining = Number.POSITIVE_INFINITY
      this.#state = 'until-close'
    }
  }

  #readBody(bytes: Buffer, start: number, end: number): number {
    const count = Math.min(end - start, this.#remaining)
    const length = this.length + count
    if (length > this.#limit) throw this.#tooLarge()
    if (this.status === 200) this.#sink.take(bytes, start, start + count)
    this.length = length
    this.#remaining -= count
    if (this.#remaining === 0) this.#state = this.#state === 'length' ? 'done' : 'chunk-end'
    return start + count
  }

  /** One line of the chunked framing: a size, the empty line after data, a trailer. */
  #readChunkLine(bytes: Buffer, start: number, end: number): number {
    const newline = bytes.indexOf(NEWLINE, start)
    const found = newline >= 0 && newline < end
    this.#line += bytes.toString('latin1', start, found ? newline : Math.min(end, start + CHUNK_LINE_LIMIT))
    if (this.#line.length >= CHUNK_LINE_LIMIT) throw new HttpReadError('malformed', 'overlong chunk line')
    if (!found) return end
    const line = this.#line.endsWith('\r') ? this.#line.slice(0, -1) : this.#line
    this.#line = ''
    if (this.#state === 'chunk-size') {
      const size = /^([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?$/.exec(line)
      if (size === null) throw new HttpReadError('malformed', 'bad chunk size')
      this.#remaining = Number.parseInt(size[1]!, 16)
      this.#state = this.#remaining === 0 ? 'trailers' : 'chunk-data'
    } else if (this.#state === 'chunk-end') {
      if (line !== '') throw new HttpReadError('malformed', 'chunk longer than its size')
      this.#state = 'chunk-size'
    } else if (line === '') {
      this.#state = 'done'
    } else {
      this.#countExtra(line.length)
    }
    return newline + 1
  }

  #countExtra(bytes: number): void {
    this.#extra += bytes
    if (this.#extra > EXTRA_LIMIT) throw new HttpReadError('too-large', 'interim responses or trailers over 16 KiB')
  }

  #tooLarge(): HttpReadError {
    return new HttpReadError('too-large', `response over ${this.#limit} bytes`)
  }
}

/** Offset after the empty line that ends a head, looked for from `from` on; −1: it has not come. */
function endOfHead(bytes: Buffer, from: number, end: number): number {
  for (let at = from; at < end; at++) {
    if (bytes[at] !== NEWLINE) continue
    const next = bytes[at + 1] === CARRIAGE_RETURN ? at + 2 : at + 1
    if (next < end && bytes[next] === NEWLINE) return next + 1
  }
  return -1
}

/** Of the line from `from` on, whose newline stands before `next`. */
function endOfLine(bytes: Buffer, from: number, next: number): number {
  return next - 2 >= from && bytes[next - 2] === CARRIAGE_RETURN ? next - 2 : next - 1
}

/** −1: this is no status line. */
function statusIn(bytes: Buffer, start: number, end: number): number {
  if (end - start < STATUS_END || bytes[start + STATUS_AT - 1] !== SPACE) return -1
  for (let i = 0; i < VERSION.length; i++) if (bytes[start + i] !== VERSION[i]) return -1
  const minor = bytes[start + MINOR_VERSION_AT]
  if (minor !== ZERO && minor !== ONE) return -1
  let status = 0
  for (let at = start + STATUS_AT; at < start + STATUS_END; at++) {
    const digit = bytes[at]! - ZERO
    if (digit < 0 || digit > 9) return -1
    status = status * 10 + digit
  }
  return end - start === STATUS_END || bytes[start + STATUS_END] === SPACE ? status : -1
}
