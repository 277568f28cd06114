/**
 * The transport seam over `node:http2`.
 *
 * Budget, µs of CPU per stream with two messages each way (300 B and 2 KB in, 35 B out), one connection, 32 streams at a time, on a
 * client that writes frames by hand (Node 24.21, quiet runs; a busy machine adds up to half): 29–34 when the client half-closes, 25–29
 * when it resets, as Envoy does, 31–36 when the service ends the stream first. The plainest server with node's API: 32–41, and
 * about 60 for resets. No promise and no closure per message; per stream five small objects and three listeners.
 *
 * Limits of this implementation: trailers leave one write after the last message; a peer may overrun a grant by one window; and
 * **over TLS, retiring a connection costs requests**: node can announce the end of a connection only together with refusing what is
 * under way (`Connection.retire`; Envoy 1.40 under load: about ten HTTP 500 each time, none over plaintext and Unix sockets). So no
 * maximum age by default, and readiness should fall before a drain.
 */
import { once } from 'node:events'
import { createSecureServer, createServer } from 'node:http2'
import type { Http2SecureServer, Http2Server, ServerHttp2Session, ServerOptions } from 'node:http2'
import { Server as NetServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { Connection } from './http2-connection.ts'
import type { ConnectionContext } from './http2-connection.ts'
import type { TLSSocket } from 'node:tls'
import { TlsCredentials } from './tls.ts'
import type { TlsOptions } from './tls.ts'
import type { StreamService, TransportServer } from './transport.ts'
import { removeStaleSocket } from './unix-socket.ts'

type ListenAddress =
  | { readonly host: string; readonly port: number; readonly reusePort?: boolean }
  /** A Unix domain socket. A stale file is replaced, ours is removed at the end. */
  | { readonly path: string }

/** Where an error arose: in a service, on a client's connection, or in a new certificate that could not be used. */
export type TransportErrorSource = 'handler' | 'connection' | 'certificate'

export interface Http2TransportOptions {
  readonly services: readonly StreamService[]
  readonly listen: ListenAddress
  /** Absent: plaintext with prior knowledge. */
  readonly tls?: TlsOptions
  /** Told of errors that end no process; for logs. `detail`: the method's path, or the listener's address. */
  readonly onError?: (error: unknown, source: TransportErrorSource, detail: string) => void

  /** Streams of one connection at a time. Default 4096; Envoy opens few connections, and a low figure costs cold ones (HTTP 500). */
  readonly maxConcurrentStreams?: number
  /** Connections at a time; more are closed at once. Default 10,000. */
  readonly maxConnections?: number
  /** Bytes that a peer may send on a stream before it is granted more. Default 65,535, HTTP/2's own, so it holds from the first byte. */
  readonly initialWindow?: number
  /** Bytes that a peer may have under way on a connection. Default 16 MiB. */
  readonly connectionWindow?: number
  /** Request headers of a stream, bytes as HTTP/2 counts them. Default 64 KiB. */
  readonly maxHeaderListBytes?: number
  /** Bytes that a slow reader may leave pending on a stream before it is reset (ENHANCE_YOUR_CALM). Default 32 MiB: a held 20 MB body echoed at once must fit. */
  readonly maxStreamPendingBytes?: number
  /** The same over all streams of a connection: the stream that crosses it is reset. Default 128 MiB. */
  readonly maxConnectionPendingBytes?: number

  /** Age at which a connection is retired. Default: never; over TLS see the limits above. */
  readonly maxConnectionAgeMs?: number
  /** Share of the age by which it varies, up and down, so that connections do not all come back at once. Default 0.1. */
  readonly maxConnectionAgeJitter?: number
  /** What a retired connection's streams may take to finish. Default 10 minutes. */
  readonly maxConnectionAgeGraceMs?: number
  /** A connection without streams for so long is retired. Default: never. */
  readonly maxConnectionIdleMs?: number
  /** Interval of pings; a peer that leaves one unanswered until the next is taken for dead. 0 = none. Default 20 s. */
  readonly keepaliveMs?: number
}

const KIB = 1024
const MIB = 1024 * KIB

/** Listens. Rejects when the address or the certificate cannot be used. */
export async function listenHttp2(options: Http2TransportOptions): Promise<TransportServer> {
  const credentials = options.tls === undefined ? undefined : await TlsCredentials.load(options.tls)
  const transport = new Http2Transport(options, credentials)
  await transport.listen()
  return transport
}

class Http2Transport implements TransportServer {
  readonly retainsParts = true
  address = ''
  port = 0
  private readonly options: Http2TransportOptions
  private readonly context: ConnectionContext
  private readonly server: Http2Server | Http2SecureServer
  private readonly credentials: TlsCredentials | undefined
  private readonly connections = new Set<Connection>()
  private readonly timers: NodeJS.Timeout[] = []
  /** The socket whose session node creates right now. */
  private accepted: Socket | undefined
  private stopped = false
  private whenEmpty: (() => void) | undefined

  constructor(options: Http2TransportOptions, credentials: TlsCredentials | undefined) {
    this.options = options
    this.credentials = credentials
    this.context = {
      services: new Map(options.services.map(service => [service.path, service])),
      initialWindow: options.initialWindow ?? 65_535,
      connectionWindow: options.connectionWindow ?? 16 * MIB,
      maxConcurrentStreams: options.maxConcurrentStreams ?? 4096,
      maxStreamPendingBytes: options.maxStreamPendingBytes ?? 32 * MIB,
      maxConnectionPendingBytes: options.maxConnectionPendingBytes ?? 128 * MIB,
      handlerFailed: (error, path) => options.onError?.(error, 'handler', path),
      connectionEnded: connection => this.connectionEnded(connection),
    }
    const settings = serverOptions(this.context, options.maxHeaderListBytes ?? 64 * KIB)
    if (credentials === undefined) {
      this.server = createServer(settings)
      this.server.prependListener('connection', (socket: Socket) => {
        this.accepted = socket
      })
    } else {
      this.server = createSecureServer({ ...settings, ...credentials.serverOptions(), handshakeTimeout: 10_000 })
    }
    this.server.maxConnections = options.maxConnections ?? 10_000
    this.server.on('session', session => this.accept(session))
    for (const event of ['sessionError', 'tlsClientError']) {
      this.server.on(event, (error: Error) => this.options.onError?.(error, 'connection', this.address))
    }
  }

  async listen(): Promise<void> {
    const { listen, keepaliveMs = 20_000, maxConnectionIdleMs } = this.options
    if ('path' in listen) await removeStaleSocket(listen.path)
    this.server.listen(listen)
    await once(this.server, 'listening')
    this.server.on('error', error => this.options.onError?.(error, 'connection', this.address))
    if ('path' in listen) {
      this.address = `unix:${listen.path}`
    } else {
      const bound = this.server.address() as AddressInfo
      this.port = bound.port
      this.address = `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
    }
    if (keepaliveMs > 0) this.everyMs(keepaliveMs, connection => connection.probe())
    if (maxConnectionIdleMs !== undefined) {
      this.everyMs(maxConnectionIdleMs / 4, connection => connection.retireIfIdle(maxConnectionIdleMs))
    }
    this.credentials?.watch(
      context => (this.server as Http2SecureServer).setSecureContext(context),
      error => this.options.onError?.(error, 'certificate', this.address),
    )
  }

  get streams(): number {
    let sum = 0
    for (const connection of this.connections) sum += connection.streamCount
    return sum
  }

  async drain(graceMs: number): Promise<void> {
    this.stop()
    for (const connection of this.connections) connection.retire(graceMs)
    await this.empty()
  }

  async close(): Promise<void> {
    this.stop()
    for (const connection of this.connections) connection.destroy()
    await this.empty()
  }

  private stop(): void {
    if (this.stopped) return
    this.stopped = true
    this.credentials?.close()
    for (const timer of this.timers) clearInterval(timer)
    // node's own `close` for HTTP/2 servers would also end the sessions, without a notice.
    NetServer.prototype.close.call(this.server)
  }

  private empty(): Promise<void> {
    return new Promise(resolve => {
      const before = this.whenEmpty
      this.whenEmpty = () => {
        before?.()
        resolve()
      }
      if (this.connections.size === 0) this.whenEmpty()
    })
  }

  private everyMs(interval: number, act: (connection: Connection) => void): void {
    const timer = setInterval(() => {
      for (const connection of this.connections) act(connection)
    }, interval)
    this.timers.push(timer.unref())
  }

  private accept(session: ServerHttp2Session): void {
    const socket = this.accepted
    this.accepted = undefined
    if (this.stopped || this.credentials?.refuses(session.socket as TLSSocket) === true) {
      session.destroy()
      return
    }
    const connection = new Connection(session, socket, this.context)
    this.connections.add(connection)
    const { maxConnectionAgeMs: age, maxConnectionAgeJitter: jitter = 0.1, maxConnectionAgeGraceMs } = this.options
    if (age !== undefined) {
      connection.limitAge(age * (1 + jitter * (2 * Math.random() - 1)), maxConnectionAgeGraceMs ?? 600_000)
    }
  }

  private connectionEnded(connection: Connection): void {
    this.connections.delete(connection)
    if (this.connections.size === 0) this.whenEmpty?.()
  }
}

/** Every limit that node has a default for and that matters here, chosen on purpose. */
function serverOptions(
  context: ConnectionContext,
  maxHeaderListBytes: number,
): ServerOptions & { maxOutstandingSettings: number } {
  return {
    settings: {
      initialWindowSize: context.initialWindow,
      maxConcurrentStreams: context.maxConcurrentStreams,
      maxHeaderListSize: maxHeaderListBytes,
    },
    // Envoy ends every ext_proc stream with RST_STREAM. nghttp2 takes 1,000 of them, then 33 a second, for an attack and ends
    // the connection. Our peers are gateways, each reset costs less than the request that it ends, and the concurrent streams are
    // capped, so the defence is opened altogether.
    streamResetBurst: 0xffffffff,
    streamResetRate: 0xffffffff,
    // Frames that break the protocol. A gateway sends none; node's default of 1,000 over a connection's life is kept.
    maxSessionInvalidFrames: 1000,
    // Streams that we refuse by `maxSessionMemory`. Ending the connection for them (default: 100) would hit the healthy ones too.
    maxSessionRejectedStreams: 10_000,
    // MB, and counts what waits to be sent; over it node refuses new streams. So it must exceed our own cap, which acts first.
    maxSessionMemory: Math.ceil(context.maxConnectionPendingBytes / 1e6) * 2 + 64,
    // Our own pings and settings that the peer has not answered. We send one ping at a time, one more to retire, and SETTINGS once.
    maxOutstandingPings: 4,
    maxOutstandingSettings: 4,
    // Names and values; beyond it the stream is reset. Metadata of a gRPC call is a few dozen at most.
    maxHeaderListPairs: 256,
  }
}
