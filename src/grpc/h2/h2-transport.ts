/** The transport seam over our own HTTP/2 on `node:net` and `node:tls` sockets. */
import { createServer as createNetServer } from 'node:net'
import type { Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { Listener } from '../listener.ts'
import { TlsCredentials } from '../tls.ts'
import type { TransportOptions } from '../transport-options.ts'
import type { TransportServer } from '../transport.ts'
import { TRUSTED, UNTRUSTED } from './flood-guard.ts'
import { H2Connection } from './h2-connection.ts'
import type { ConnectionContext } from './h2-context.ts'
import { Refusals } from './refusals.ts'
import { settingsFrame } from './settings.ts'
import { SocketWire } from './socket-wire.ts'
import type { WireCounts } from './socket-wire.ts'

const KIB = 1024
const MIB = 1024 * KIB
const HANDSHAKE_MS = 10_000
const PREFACE_MS = 5000

export interface H2TransportOptions extends TransportOptions {
  /**
   * Whose resets cost nothing and who may send the most of frames that ask for nothing: `all` peers (default: the port is for gateways, and
   * Envoy ends every stream with a reset), or those with a `verified` client certificate. Others then have half of the connections at most.
   */
  readonly trust?: 'all' | 'verified'
  /** How long a client may take for its preface, ms; then it is closed. Default 5,000. */
  readonly prefaceMs?: number
}

export interface H2TransportServer extends TransportServer {
  /** System calls so far. */
  readonly counts: Readonly<WireCounts>
}

/** Listens. Rejects when the address or the certificate cannot be used. */
export async function listenH2(options: H2TransportOptions): Promise<H2TransportServer> {
  const credentials = options.tls === undefined ? undefined : await TlsCredentials.load(options.tls)
  const counts: WireCounts = { reads: 0, writes: 0 }
  const context = contextOf(options, {
    handlerFailed: (error, path) => options.onError?.(error, 'handler', path),
    connectionFailed: why => options.onError?.(new Error(why), 'connection', listener.address),
    connectionEnded: connection => listener.remove(connection),
  })
  const refusals = new Refusals(context.settings)
  const failed = (error: unknown): void => options.onError?.(error, 'connection', listener.address)
  const serve = (wire: SocketWire, trusted: boolean): void => {
    const connection = new H2Connection(wire, context, trusted ? TRUSTED : UNTRUSTED)
    // Without TLS nobody can show who they are.
    listener.add(connection, !trusted && credentials !== undefined)
    wire.serve(connection, failed)
  }
  const trustsAll = options.trust !== 'verified'
  const server =
    credentials === undefined ? createNetServer({ pauseOnConnect: true, noDelay: true }) : tlsServer(credentials)
  const listener = new Listener(server, options, credentials, false)
  if (credentials === undefined) {
    server.on('connection', (socket: Socket) => {
      if (listener.accepts()) serve(SocketWire.adopt(socket, counts), trustsAll)
      else refusals.refuse(socket)
    })
  } else {
    server.on('tlsClientError', failed)
    server.on('secureConnection', (socket: TLSSocket) => {
      // Over TLS, HTTP/2 must have been agreed on (RFC 9113 §3.2).
      const trusted = trustsAll || socket.authorized
      if (socket.alpnProtocol !== 'h2' || credentials.refuses(socket)) socket.destroy()
      else if (!listener.accepts(!trusted)) refusals.refuse(socket)
      else serve(new SocketWire(socket, counts), trusted)
    })
  }
  await listener.listen()
  return Object.assign(listener, { counts })
}

function tlsServer(credentials: TlsCredentials) {
  return createTlsServer({
    ...credentials.serverOptions(),
    ALPNProtocols: ['h2'],
    handshakeTimeout: HANDSHAKE_MS,
    noDelay: true,
  })
}

function contextOf(
  options: H2TransportOptions,
  told: Pick<ConnectionContext, 'handlerFailed' | 'connectionFailed' | 'connectionEnded'>,
): ConnectionContext {
  const own = {
    initialWindow: options.initialWindow ?? 65_535,
    maxConcurrentStreams: options.maxConcurrentStreams ?? 4096,
    maxHeaderListBytes: options.maxHeaderListBytes ?? 64 * KIB,
  }
  return {
    ...told,
    services: new Map(options.services.map(service => [service.path, service])),
    own,
    settings: settingsFrame(own),
    prefaceMs: options.prefaceMs ?? PREFACE_MS,
    connectionWindow: options.connectionWindow ?? 16 * MIB,
    maxStreamPendingBytes: options.maxStreamPendingBytes ?? 32 * MIB,
    maxConnectionPendingBytes: options.maxConnectionPendingBytes ?? 128 * MIB,
  }
}
