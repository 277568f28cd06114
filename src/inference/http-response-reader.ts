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
const HEAD_END = /\r?\n\r?\n/

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
  /** Head or chunk line that has not ended yet. */
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
    this.#extra = 0
  }

  /** Whether bytes of the current response have come. */
  get begun(): boolean {
    return this.#state !== 'head' || this.#line !== ''
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
    const held = this.#line.length
    const text = bytes.toString('latin1', start, Math.min(end, start + HEAD_LIMIT - held))
    const joined = held === 0 ? text : this.#line + text
    const match = HEAD_END.exec(joined)
    if (match === null) {
      if (joined.length >= HEAD_LIMIT) throw new HttpReadError('too-large', 'response head over 16 KiB')
      this.#line = joined
      return end
    }
    this.#line = ''
    this.#parseHead(joined.slice(0, match.index))
    return start + match.index + match[0].length - held
  }

  #parseHead(head: string): void {
    const lines = head.split(/\r?\n/)
    const status = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(lines[0]!)
    if (status === null) throw new HttpReadError('malformed', 'not an HTTP/1 response')
    this.status = Number(status[2])
    // Informational responses precede the real one.
    if (this.status < 200 && this.status !== 101) return this.#countExtra(head.length)
    this.#extra = 0
    this.keepAlive = status[1] === '1'
    let contentLength = -1
    let chunked = false
    for (let i = 1; i < lines.length; i++) {
      const line = lines[i]!
      const colon = line.indexOf(':')
      if (colon <= 0) throw new HttpReadError('malformed', 'header without a name')
      const value = line.slice(colon + 1).trim()
      switch (line.slice(0, colon).toLowerCase()) {
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
