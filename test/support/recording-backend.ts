import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import * as http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { BodyRecorder, type RecordedRequest } from './recorded-request.ts'
import { jsonReply, type ResponseWriter, type Script, writeReply } from './reply.ts'
import { waitFor } from './wait-for.ts'

export interface BackendOptions {
  /** Told in the default answer. Default `backend`. */
  readonly name?: string
  /** Default `http1`. */
  readonly protocol?: 'http1' | 'h2c'
  /** Default 0: any. */
  readonly port?: number
  readonly host?: string
  /** Default: 200 with `{"backend": name}`. */
  readonly script?: Script
}

/** An upstream server that keeps a record of exactly what it received and answers by script. */
export interface RecordingBackend {
  readonly name: string
  readonly port: number
  /** `host:port` */
  readonly address: string
  /** All requests, in the order of their headers' arrival. */
  readonly requests: readonly RecordedRequest[]
  /** Answers from now on. */
  script(script: Script): void
  /** Forgets the requests so far. */
  forget(): void
  /** The `index`-th request (default 0), once it is complete. */
  completed(index?: number): Promise<RecordedRequest>
  /** Cuts all connections and stops listening. */
  close(): Promise<void>
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export async function startRecordingBackend(options: BackendOptions = {}): Promise<RecordingBackend> {
  const name = options.name ?? 'backend'
  const host = options.host ?? '127.0.0.1'
  let script: Script = options.script ?? (() => jsonReply({ backend: name }))
  let requests: RecordedRequest[] = []
  const sockets = new Set<Socket>()

  const handle = (incoming: IncomingMessage | http2.Http2ServerRequest, writer: ResponseWriter): void => {
    const recorder = new BodyRecorder()
    const record: Mutable<RecordedRequest> = {
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      httpVersion: incoming.httpVersion,
      headers: flat(incoming.headers),
      body: recorder.record(),
      trailers: {},
      complete: false,
      aborted: false,
    }
    // A body that is still coming must not be hashed again at every look: the record is made when somebody reads it.
    Object.defineProperty(record, 'body', { get: () => recorder.record(), enumerable: true })
    requests.push(record)
    const reply = script(record)
    if (reply.early === true) void writeReply(reply, record.method, writer)
    incoming.on('data', (part: Buffer) => recorder.add(part))
    incoming.on('end', () => {
      if (!isWhole(incoming)) return
      const body = recorder.record()
      Object.defineProperty(record, 'body', { value: body, enumerable: true })
      record.trailers = flat(incoming.trailers)
      record.complete = true
      if (reply.early !== true) void writeReply(reply, record.method, writer)
    })
    incoming.on('aborted', () => (record.aborted = true))
    incoming.on('error', () => (record.aborted = true))
  }

  const server =
    options.protocol === 'h2c'
      ? http2.createServer({ settings: { initialWindowSize: 1 << 20 } }, (incoming, outgoing) =>
          handle(incoming, http2Writer(outgoing)),
        )
      : createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, (incoming, outgoing) =>
          handle(incoming, http1Writer(outgoing)),
        )
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  if (options.protocol === 'h2c') server.on('sessionError', () => {})
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, host, resolve)
  })
  const { port } = server.address() as AddressInfo

  return {
    name,
    port,
    address: `${host}:${port}`,
    get requests() {
      return requests
    },
    script: next => {
      script = next
    },
    forget: () => {
      requests = []
    },
    completed: (index = 0) =>
      waitFor(`request ${index} at ${name}`, () => (requests[index]?.complete === true ? requests[index] : undefined)),
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

/** At `end`: whether that was the request's own end. Both servers also say `end` when it was cut off. */
function isWhole(incoming: IncomingMessage | http2.Http2ServerRequest): boolean {
  // The HTTP/2 server's `complete` is true for aborted requests too.
  return 'stream' in incoming ? !incoming.stream.aborted && incoming.stream.rstCode === 0 : incoming.complete
}

function flat(headers: NodeJS.Dict<string | string[]>): Record<string, string> {
  const result: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || (name.startsWith(':') && name !== ':authority')) continue
    result[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return result
}

function http1Writer(outgoing: ServerResponse): ResponseWriter {
  outgoing.on('error', () => {})
  return {
    head: (status, headers) => {
      outgoing.writeHead(status, headers)
      outgoing.flushHeaders()
    },
    write: chunk => void outgoing.write(chunk),
    trailers: trailers => outgoing.addTrailers(trailers),
    end: () => void outgoing.end(),
    destroy: () => void outgoing.socket?.destroy(),
    get gone() {
      return outgoing.destroyed
    },
  }
}

function http2Writer(outgoing: http2.Http2ServerResponse): ResponseWriter {
  outgoing.stream.on('error', () => {})
  return {
    head: (status, headers) => void outgoing.writeHead(status, headers),
    write: chunk => void outgoing.write(chunk),
    trailers: trailers => outgoing.addTrailers(trailers),
    end: () => void outgoing.end(),
    destroy: () => outgoing.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR),
    get gone() {
      return outgoing.stream.destroyed
    },
  }
}
