import type { Agent, Dispatcher } from 'undici'
import { ApiError } from './api-error.ts'
import type { ClusterAccess } from './cluster-access.ts'
import type { AccessLoader } from './find-access.ts'

/** More than this in one answer to a list is not read. A page has 500 objects at most. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024
const MAX_ERROR_BYTES = 64 * 1024
const CONNECT_MS = 10_000
const HEADERS_MS = 30_000
const BODY_IDLE_MS = 30_000
const USER_AGENT = 'signalbox'

/** A stream of a watch. `undici`'s body; ends, fails or is destroyed. */
export type ByteStream = AsyncIterable<Buffer>

interface Sent {
  readonly method: 'POST' | 'PUT'
  readonly text: string
}

/**
 * Requests to one API server. Access is read when it is first needed and again by `renew`; connections are kept while it
 * doesn't change.
 */
export class ApiClient {
  readonly #load: AccessLoader
  #access: ClusterAccess | undefined
  #fingerprint = ''
  #agent: Agent | undefined
  #loading: Promise<void> | undefined
  #closed = false

  constructor(load: AccessLoader) {
    this.#load = load
  }

  /** An answer as a whole. @throws ApiError, AccessError, or what the connection failed with */
  async getJson(path: string, signal: AbortSignal): Promise<unknown> {
    const body = await this.#request(path, signal, BODY_IDLE_MS)
    const bytes = await collect(body, MAX_ANSWER_BYTES)
    return JSON.parse(bytes.toString('utf8')) as unknown
  }

  /** Creates an object in a collection: what the server made of it, or answers to it, as to a review. @throws as `getJson` */
  postJson(path: string, object: unknown, signal: AbortSignal): Promise<unknown> {
    return this.#send('POST', path, object, signal)
  }

  /** Replaces an object, if it still has the `resourceVersion` that is in the new one (else 409). @throws as `getJson` */
  putJson(path: string, object: unknown, signal: AbortSignal): Promise<unknown> {
    return this.#send('PUT', path, object, signal)
  }

  /** An answer that goes on. Silence is the caller's to judge. @throws as `getJson` */
  watch(path: string, signal: AbortSignal): Promise<ByteStream> {
    return this.#request(path, signal, 0)
  }

  /** Reads access again: for after a failure, which an expired token or a new authority may have caused. Never rejects. */
  async renew(): Promise<void> {
    await this.#read().catch(() => undefined)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#loading?.catch(() => undefined)
    await this.#agent?.destroy()
  }

  async #send(method: Sent['method'], path: string, object: unknown, signal: AbortSignal): Promise<unknown> {
    const body = await this.#request(path, signal, BODY_IDLE_MS, { method, text: JSON.stringify(object) })
    return JSON.parse((await collect(body, MAX_ANSWER_BYTES)).toString('utf8')) as unknown
  }

  /** @param sent undefined: a GET */
  async #request(
    path: string,
    signal: AbortSignal,
    bodyTimeout: number,
    sent?: Sent,
  ): Promise<Dispatcher.ResponseData['body']> {
    if (this.#access === undefined) await this.#read()
    const access = this.#access!
    const { statusCode, headers, body } = await this.#agent!.request({
      origin: new URL(access.server).origin,
      path: `${new URL(access.server).pathname.replace(/\/$/, '')}${path}`,
      method: sent === undefined ? 'GET' : sent.method,
      ...(sent === undefined ? {} : { body: sent.text }),
      headers: {
        accept: 'application/json',
        'user-agent': USER_AGENT,
        ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
        ...(access.token === undefined ? {} : { authorization: `Bearer ${access.token}` }),
      },
      headersTimeout: HEADERS_MS,
      bodyTimeout,
      signal,
    })
    if (statusCode === 200 || statusCode === 201) return body
    const text = await collect(body, MAX_ERROR_BYTES).then(
      bytes => bytes.toString('utf8'),
      () => '',
    )
    const seconds = Number(headers['retry-after'])
    throw new ApiError(
      statusCode,
      `${statusCode} ${messageOf(text)}`,
      Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 60) * 1000 : undefined,
    )
  }

  #read(): Promise<void> {
    this.#loading ??= this.#readOnce().finally(() => (this.#loading = undefined))
    return this.#loading
  }

  async #readOnce(): Promise<void> {
    const access = await this.#load()
    const fingerprint = JSON.stringify({ ...access, token: undefined })
    this.#access = access
    if (this.#closed || fingerprint === this.#fingerprint) return
    this.#fingerprint = fingerprint
    // 30 MB that nobody needs who follows no API server.
    const { Agent } = await import('undici')
    const before = this.#agent
    this.#agent = new Agent({
      connect: {
        timeout: CONNECT_MS,
        keepAlive: true,
        keepAliveInitialDelay: 30_000,
        rejectUnauthorized: !access.insecure,
        ...(access.ca === undefined ? {} : { ca: access.ca }),
        ...(access.serverName === undefined ? {} : { servername: access.serverName }),
        ...access.clientCertificate,
      },
    })
    // Watches that run on it end and are begun again over the new one.
    await before?.destroy()
  }
}

async function collect(body: ByteStream, maxBytes: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of body) {
    size += part.length
    if (size > maxBytes) throw new Error(`the answer has more than ${maxBytes} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** The message of a Status object, or the text itself, on one short line. */
function messageOf(text: string): string {
  let message = text
  try {
    const status = JSON.parse(text) as { message?: unknown } | null
    if (typeof status?.message === 'string') message = status.message
  } catch {
    // Proxies answer with text of their own.
  }
  const line = message.replace(/\s+/g, ' ').trim()
  return line.length > 300 ? `${line.slice(0, 299)}…` : line
}
