import { createHash, type Hash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError } from './api-error.ts'
import type { RequestRecord } from './request-log.ts'

/** How long a client that was refused in the middle of its upload may take to read the answer. */
const LINGER_MS = 1000

/**
 * One request and its answer, HTTP/1.1 or HTTP/2 (whose compatibility API has the same members). No method throws, whatever
 * state the connection is in.
 */
export class Exchange {
  readonly request: IncomingMessage
  readonly record: RequestRecord
  readonly url: URL
  /** The whole body, once `readBody` is through. */
  body: Buffer = Buffer.alloc(0)
  readonly #response: ServerResponse
  readonly #closeActions: (() => void)[] = []
  #closed = false

  constructor(request: IncomingMessage, response: ServerResponse, url: URL, record: RequestRecord) {
    this.request = request
    this.record = record
    this.url = url
    this.#response = response
    response.on('error', () => {})
    request.on('error', () => {})
    response.once('close', () => {
      record.outcome = response.writableFinished ? 'answered' : 'cut'
      this.#closed = true
      for (const action of this.#closeActions) action()
    })
  }

  get isClosed(): boolean {
    return this.#closed || this.#response.destroyed
  }

  /** Calls `action` when the exchange is over: answered, or cut by either side. */
  onClose(action: () => void): void {
    if (this.isClosed) action()
    else this.#closeActions.push(action)
  }

  /** Reads the body to its end; false when the client went away. Throws 413 beyond `limit` bytes. */
  readBody(limit: number): Promise<boolean> {
    const { request, record } = this
    const { promise, resolve, reject } = Promise.withResolvers<boolean>()
    const hash: Hash = createHash('sha256')
    const chunks: Buffer[] = []
    const tooLarge = () => {
      request.off('data', take)
      request.resume()
      reject(new ApiError(413, 'RequestEntityTooLarge', `The request body is larger than ${limit} bytes.`))
    }
    const take = (chunk: Buffer) => {
      record.bodyBytes += chunk.length
      if (record.bodyBytes > limit) {
        tooLarge()
        return
      }
      hash.update(chunk)
      chunks.push(chunk)
    }
    request.once('end', () => {
      this.body = Buffer.concat(chunks)
      record.bodySha256 = hash.digest('hex')
      record.trailers = flatten(request.trailers)
      resolve(true)
    })
    request.once('close', () => resolve(false))
    if (Number(request.headers['content-length'] ?? 0) > limit) tooLarge()
    else request.on('data', take)
    return promise
  }

  /** Answers with JSON. */
  json(status: number, value: object, headers: OutHeaders = {}): void {
    this.send(status, 'application/json', JSON.stringify(value), headers)
  }

  /** Answers with an error in vLLM's shape; anything that is no `ApiError` is a 500. */
  fail(error: unknown): void {
    const known =
      error instanceof ApiError
        ? error
        : new ApiError(500, 'InternalServerError', 'The simulator failed: this is a bug.')
    if (this.#response.headersSent) {
      this.cut()
      return
    }
    if (known.status === 413) this.#linger()
    this.json(known.status, known.body())
  }

  /** Answers with a whole body. */
  send(status: number, contentType: string | undefined, body: string | Uint8Array, headers: OutHeaders = {}): void {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    this.start(status, {
      ...(contentType === undefined ? {} : { 'content-type': contentType }),
      'content-length': bytes.length,
      ...headers,
    })
    this.end(bytes)
  }

  /** Begins an answer whose body follows by `write`. */
  start(status: number, headers: OutHeaders): void {
    if (this.isClosed) return
    const { replica, bodySha256 } = this.record
    this.record.status = status
    const digest = bodySha256 === null ? {} : { 'x-sim-body-sha256': bodySha256 }
    this.#response.writeHead(status, { 'x-sim-replica': replica, ...digest, ...headers })
  }

  write(bytes: string | Uint8Array, taken?: () => void): void {
    if (this.isClosed) return
    this.#response.write(bytes, () => taken?.())
  }

  /** Writes and waits until the socket took it and `interval` milliseconds have passed. */
  async writePaced(bytes: Uint8Array, interval: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.onClose(resolve)
    this.write(bytes, resolve)
    await promise
    if (interval > 0) await sleep(interval, undefined, { ref: false })
  }

  end(bytes?: string | Uint8Array, trailers?: Readonly<Record<string, string>>): void {
    if (this.isClosed) return
    if (trailers !== undefined) this.#response.addTrailers(trailers)
    if (bytes !== undefined && bytes.length > 0) this.#response.end(bytes)
    else this.#response.end()
  }

  /** Closes the connection (the stream, on HTTP/2) without an end of the answer. */
  cut(): void {
    const { stream } = this.#response as { stream?: Http2ServerResponse['stream'] }
    if (stream === undefined) this.#response.destroy()
    else stream.destroy()
  }

  /** The rest of a refused upload is thrown away for a moment, so that the client sees the answer and no reset. */
  #linger(): void {
    if (this.record.httpVersion.startsWith('1')) this.#response.setHeader('connection', 'close')
    this.#response.once('finish', () => setTimeout(() => this.request.destroy(), LINGER_MS).unref())
  }
}

export type OutHeaders = Readonly<Record<string, string | number>>

/** Headers by name, repeated ones joined. */
export function flatten(headers: NodeJS.Dict<string | string[]>): Record<string, string> {
  const result: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) result[name] = Array.isArray(value) ? value.join(', ') : value
  }
  return result
}
