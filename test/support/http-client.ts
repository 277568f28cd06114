/**
 * Clients that send exactly what a test says and return exactly what came back. `sendHttp1` and `sendHttp2` open a connection per
 * request; `openHttp2` keeps one; `sendRaw` writes bytes.
 */
import type { EventEmitter } from 'node:events'
import { type Agent, request as httpRequest } from 'node:http'
import * as http2 from 'node:http2'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface ClientRequest {
  readonly port: number
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default POST with a body, GET without. */
  readonly method?: string
  /** Default `/`. */
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** Default `content-length`; with trailers HTTP/1.1 is always chunked. */
  readonly framing?: 'content-length' | 'chunked'
  /** Bytes per write; default: all at once. 1 sends every byte in a write of its own. */
  readonly writeBytes?: number
  /** Pause between writes, ms. */
  readonly gapMs?: number
  readonly trailers?: Readonly<Record<string, string>>
  /** Cut the connection (reset the stream) after this many body bytes. The result is an `AbortedByTest`. */
  readonly abortAfterBytes?: number
  /** With `abortAfterBytes`: the cut waits for it. Default: 20 ms, in which what was written leaves. */
  readonly abortWhen?: () => Promise<unknown>
  /** Default 30 s. */
  readonly timeoutMs?: number
  /** HTTP/1.1 only: keeps connections. Default: a connection for this request. */
  readonly agent?: Agent
  /** Called with each piece of the response body as it comes. */
  readonly onData?: (part: Buffer) => void
}

export interface ClientResponse {
  readonly status: number
  /** Names in lower case, repeated ones joined by ", ". */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly trailers: Readonly<Record<string, string>>
}

/** The request was cut as `abortAfterBytes` asked. */
export class AbortedByTest extends Error {
  override readonly name = 'AbortedByTest'
}

/** The response began but was cut off; carries what came. */
export class CutOffResponse extends Error {
  override readonly name = 'CutOffResponse'
  readonly partial: ClientResponse

  constructor(partial: ClientResponse) {
    super(`the response was cut off after ${partial.body.length} bytes of body (status ${partial.status})`)
    this.partial = partial
  }
}

const DEFAULT_TIMEOUT_MS = 30_000

/** @throws {CutOffResponse} {AbortedByTest} connection errors, time-out */
export function sendHttp1(options: ClientRequest): Promise<ClientResponse> {
  const body = Buffer.from(options.body ?? '')
  const chunked = options.framing === 'chunked' || options.trailers !== undefined
  const headers: Record<string, string> = { ...options.headers }
  if (chunked) headers['transfer-encoding'] ??= 'chunked'
  else if (options.body !== undefined) headers['content-length'] ??= String(body.length)
  if (options.trailers !== undefined) headers['trailer'] ??= Object.keys(options.trailers).join(', ')
  return new Promise((resolve, reject) => {
    const { host = '127.0.0.1', port, path = '/' } = options
    const outgoing = httpRequest({
      host,
      port,
      path,
      method: methodOf(options),
      headers,
      agent: options.agent ?? false,
    })
    const timer = setTimeout(() => outgoing.destroy(timeoutError(options)), options.timeoutMs ?? DEFAULT_TIMEOUT_MS)
    const settle = (act: () => void): void => {
      clearTimeout(timer)
      act()
    }
    outgoing.on('error', error => settle(() => reject(error)))
    outgoing.on('response', incoming => {
      const parts: Buffer[] = []
      const response = (): ClientResponse => ({
        status: incoming.statusCode!,
        headers: flat(incoming.headers),
        body: Buffer.concat(parts),
        trailers: flat(incoming.trailers),
      })
      incoming.on('data', (part: Buffer) => {
        parts.push(part)
        options.onData?.(part)
      })
      incoming.on('error', () => settle(() => reject(new CutOffResponse(response()))))
      incoming.on('end', () =>
        settle(() => (incoming.complete ? resolve(response()) : reject(new CutOffResponse(response())))),
      )
    })
    void writeBody(options, body, {
      write: part => outgoing.write(part),
      end: () => {
        if (options.trailers !== undefined) outgoing.addTrailers({ ...options.trailers })
        outgoing.end()
      },
      abort: () => outgoing.destroy(new AbortedByTest('cut by the test')),
      gone: () => outgoing.destroyed,
      drained: () => drained(outgoing),
    })
  })
}

/** One HTTP/2 connection (prior knowledge) for many requests. */
export interface Http2Connection {
  send(request: Omit<ClientRequest, 'host' | 'port'>): Promise<ClientResponse>
  close(): void
}

export function openHttp2(port: number, host = '127.0.0.1'): Http2Connection {
  // Bodies wait whole in the session's memory: with node's 10 MB it would reset streams whose answer comes meanwhile.
  const session = http2.connect(`http://${host}:${port}`, { maxSessionMemory: 1000 })
  // Requests report it.
  session.on('error', () => {})
  return {
    send: request => sendOnSession(session, { ...request, host, port }),
    close: () => session.destroy(),
  }
}

/** As `sendHttp1`, on a HTTP/2 connection of its own. */
export async function sendHttp2(options: ClientRequest): Promise<ClientResponse> {
  const connection = openHttp2(options.port, options.host)
  try {
    return await connection.send(options)
  } finally {
    connection.close()
  }
}

function sendOnSession(session: http2.ClientHttp2Session, options: ClientRequest): Promise<ClientResponse> {
  const body = Buffer.from(options.body ?? '')
  const hasBody = options.body !== undefined || options.trailers !== undefined
  const headers: http2.OutgoingHttpHeaders = { ...options.headers }
  headers[':method'] = methodOf(options)
  headers[':path'] = options.path ?? '/'
  if (hasBody && options.framing !== 'chunked' && options.trailers === undefined)
    headers['content-length'] ??= body.length
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: !hasBody, waitForTrailers: options.trailers !== undefined })
    const timer = setTimeout(() => stream.destroy(timeoutError(options)), options.timeoutMs ?? DEFAULT_TIMEOUT_MS)
    const parts: Buffer[] = []
    let head: http2.IncomingHttpHeaders | undefined
    let trailers: http2.IncomingHttpHeaders = {}
    let failure: Error | undefined
    let finished = false
    stream.on('response', received => (head = received))
    stream.on('trailers', received => (trailers = received))
    stream.on('data', (part: Buffer) => {
      parts.push(part)
      options.onData?.(part)
    })
    stream.on('end', () => (finished = true))
    stream.on('error', error => (failure ??= error))
    if (options.trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers({ ...options.trailers }))
    stream.on('close', () => {
      clearTimeout(timer)
      if (failure instanceof AbortedByTest || head === undefined) {
        reject(failure ?? new Error(`stream closed without a response (code ${stream.rstCode})`))
        return
      }
      const response = {
        status: Number(head[':status']),
        headers: flat(head),
        body: Buffer.concat(parts),
        trailers: flat(trailers),
      }
      // A server may end its answer and then reset with NO_ERROR, to say that it wants no more of the request.
      if (finished && failure === undefined) resolve(response)
      else reject(new CutOffResponse(response))
    })
    if (!hasBody) return
    void writeBody(options, body, {
      write: part => stream.write(part),
      end: () => stream.end(),
      abort: () => {
        failure = new AbortedByTest('cut by the test')
        stream.close(http2.constants.NGHTTP2_CANCEL)
      },
      gone: () => stream.destroyed || stream.closed,
      drained: () => drained(stream),
    })
  })
}

/**
 * Writes `pieces` as they are on a new TCP connection, `gapMs` apart, and returns all that came back until the peer closed or
 * `until` said so (asked with everything so far).
 */
export function sendRaw(
  port: number,
  pieces: readonly (string | Uint8Array)[],
  options: {
    readonly gapMs?: number
    readonly until?: (received: Buffer) => boolean
    readonly timeoutMs?: number
  } = {},
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const parts: Buffer[] = []
    const timer = setTimeout(
      () => socket.destroy(new Error(`no end within the time; received: ${Buffer.concat(parts).toString('latin1')}`)),
      options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    )
    socket.on('data', part => {
      parts.push(part)
      if (options.until?.(Buffer.concat(parts)) === true) socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(parts))
    })
    void (async () => {
      for (const piece of pieces) {
        if (socket.destroyed) return
        socket.write(piece)
        if (options.gapMs !== undefined) await sleep(options.gapMs)
      }
    })()
  })
}

interface BodySink {
  /** False: wait for `drained`. */
  write(part: Buffer): boolean
  end(): void
  abort(): void
  gone(): boolean
  drained(): Promise<void>
}

async function writeBody(options: ClientRequest, body: Buffer, sink: BodySink): Promise<void> {
  const size = options.writeBytes ?? Math.max(body.length, 1)
  const stop = options.abortAfterBytes ?? Number.POSITIVE_INFINITY
  for (let at = 0; at < body.length && at < stop; at += size) {
    if (sink.gone()) return
    const room = sink.write(body.subarray(at, Math.min(at + size, stop)))
    if (!room) await sink.drained()
    if (options.gapMs !== undefined) await sleep(options.gapMs)
    // Otherwise Node would gather small writes into one packet.
    else if (options.writeBytes !== undefined) await new Promise(setImmediate)
  }
  if (sink.gone()) return
  if (options.abortAfterBytes === undefined) sink.end()
  else {
    await (options.abortWhen?.() ?? sleep(20))
    sink.abort()
  }
}

function drained(stream: EventEmitter): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.on('drain', done).on('close', done)
  })
}

function methodOf(options: ClientRequest): string {
  return options.method ?? (options.body === undefined ? 'GET' : 'POST')
}

function timeoutError(options: ClientRequest): Error {
  return new Error(`no complete answer within ${(options.timeoutMs ?? DEFAULT_TIMEOUT_MS) / 1000} s`)
}

function flat(headers: NodeJS.Dict<string | string[]>): Record<string, string> {
  const result: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(':')) continue
    result[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return result
}
