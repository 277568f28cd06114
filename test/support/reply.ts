import { setTimeout as sleep } from 'node:timers/promises'
import type { RecordedRequest } from './recorded-request.ts'

/** What a `RecordingBackend` answers. Everything has a default: 200, no body. */
export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  /** The body in pieces, one write each. */
  readonly chunks?: readonly (string | Uint8Array)[]
  /** Pause between chunks, ms. */
  readonly gapMs?: number
  /** Set `content-length`; otherwise HTTP/1.1 sends chunked. Not together with trailers. */
  readonly contentLength?: boolean
  readonly trailers?: Readonly<Record<string, string>>
  /** Pause before the headers, ms. */
  readonly delayMs?: number
  /** Answer as soon as the request's headers are there, without waiting for its body. */
  readonly early?: boolean
  /** What follows the last chunk: `end` (default), `hang` (never end), `destroy` (cut the connection or reset the stream). */
  readonly after?: 'end' | 'hang' | 'destroy'
  /** Never send even the headers (the request is recorded all the same). */
  readonly silent?: boolean
}

/** Chooses the answer. Called when the request's headers are there (its body may not be). */
export type Script = (request: RecordedRequest) => Reply

export function jsonReply(value: unknown, status = 200): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json' },
    chunks: [JSON.stringify(value)],
    contentLength: true,
  }
}

/** Server-sent events, one chunk each, `gapMs` apart. Each text goes behind `data: `. */
export function sseReply(events: readonly string[], gapMs = 0): Reply {
  return { headers: { 'content-type': 'text/event-stream' }, chunks: events.map(event => `data: ${event}\n\n`), gapMs }
}

/** The common denominator of the HTTP/1.1 and HTTP/2 server responses. */
export interface ResponseWriter {
  head(status: number, headers: Record<string, string | string[]>): void
  write(chunk: string | Uint8Array): void
  trailers(trailers: Record<string, string>): void
  end(): void
  destroy(): void
  /** The client is gone; nothing can be written. */
  readonly gone: boolean
}

export async function writeReply(reply: Reply, method: string, writer: ResponseWriter): Promise<void> {
  if (reply.silent === true) return
  if (reply.delayMs !== undefined) await sleep(reply.delayMs)
  const chunks = reply.chunks ?? []
  const headers: Record<string, string | string[]> = {}
  for (const [name, value] of Object.entries(reply.headers ?? {})) {
    headers[name] = typeof value === 'string' ? value : [...value]
  }
  if (reply.contentLength === true) {
    headers['content-length'] = String(chunks.reduce((sum, chunk) => sum + Buffer.byteLength(chunk), 0))
  }
  if (writer.gone) return
  writer.head(reply.status ?? 200, headers)
  if (method !== 'HEAD') {
    for (const [i, chunk] of chunks.entries()) {
      if (i > 0 && reply.gapMs !== undefined && reply.gapMs > 0) await sleep(reply.gapMs)
      if (writer.gone) return
      writer.write(chunk)
    }
  }
  if (reply.after === 'hang') return
  if (reply.after === 'destroy') {
    // Lets what was written leave first.
    await sleep(5)
    writer.destroy()
    return
  }
  if (reply.trailers !== undefined) writer.trailers({ ...reply.trailers })
  writer.end()
}
