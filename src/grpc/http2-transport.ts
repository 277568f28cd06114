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
import { constants, createSecureServer, createServer } from 'node:http2'
import type { ServerHttp2Session, ServerOptions } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { Connection } from './http2-connection.ts'
import type { ConnectionContext } from './http2-connection.ts'
import { Listener } from './listener.ts'
import { TlsCredentials } from './tls.ts'
import type { TransportOptions } from './transport-options.ts'
import type { TransportServer } from './transport.ts'

const KIB = 1024
const MIB = 1024 * KIB
const HANDSHAKE_MS = 10_000

/** Listens. Rejects when the address or the certificate cannot be used. */
export async function listenHttp2(options: TransportOptions): Promise<TransportServer> {
  const credentials = options.tls === undefined ? undefined : await TlsCredentials.load(options.tls)
  const context: ConnectionContext = {
    services: new Map(options.services.map(service => [service.path, service])),
    initialWindow: options.initialWindow ?? 65_535,
    connectionWindow: options.connectionWindow ?? 16 * MIB,
    maxConcurrentStreams: options.maxConcurrentStreams ?? 4096,
    maxStreamPendingBytes: options.maxStreamPendingBytes ?? 32 * MIB,
    maxConnectionPendingBytes: options.maxConnectionPendingBytes ?? 128 * MIB,
    handlerFailed: (error, path) => options.onError?.(error, 'handler', path),
    connectionEnded: connection => listener.remove(connection),
  }
  const settings = serverOptions(context, options.maxHeaderListBytes ?? 64 * KIB)
  const server =
    credentials === undefined
      ? createServer(settings)
      : createSecureServer({ ...settings, ...credentials.serverOptions(), handshakeTimeout: HANDSHAKE_MS })
  const listener = new Listener(server, options, credentials, true)
  /** The socket whose session node creates right now: only plain ones may be written to beside node. */
  let accepted: Socket | undefined
  if (credentials === undefined) server.prependListener('connection', (socket: Socket) => (accepted = socket))
  server.on('session', (session: ServerHttp2Session) => {
    const socket = accepted
    accepted = undefined
    if (credentials?.refuses(session.socket as TLSSocket) === true) session.destroy()
    else if (!listener.accepts()) {
      session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0)
      session.destroy()
    } else listener.add(new Connection(session, socket, context))
  })
  for (const event of ['sessionError', 'tlsClientError']) {
    server.on(event, (error: Error) => options.onError?.(error, 'connection', listener.address))
  }
  await listener.listen()
  return listener
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
