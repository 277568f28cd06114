/** Where and how to connect: an address with or without TLS. */
import { connect, type Socket } from 'node:net'
import { checkServerIdentity, connect as connectTls } from 'node:tls'

export interface TlsClient {
  /** Undefined: the peer's certificate isn't checked, as in Envoy without a validation context. */
  readonly ca: string | undefined
  /** The certificate must have one of these as a subject alternative name; empty: any name will do. */
  readonly names: readonly string[]
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly serverName: string | undefined
}

export interface Transport {
  /** `ip:port`, IPv6 in brackets, or the path of a UNIX socket: the text that override lists compare with. */
  readonly name: string
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string }
  readonly tls: TlsClient | undefined
}

export function connectSocket(transport: Transport, alpn: readonly string[]): Socket {
  const { tls } = transport
  if (tls === undefined) return connect({ ...transport.address, noDelay: true })
  const socket = connectTls({
    ...transport.address,
    ALPNProtocols: [...alpn],
    rejectUnauthorized: tls.ca !== undefined,
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.cert === undefined ? {} : { cert: tls.cert }),
    ...(tls.key === undefined ? {} : { key: tls.key }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    // Envoy checks the chain, names only when the configuration lists them.
    checkServerIdentity: (_host, certificate) => {
      if (tls.names.length === 0) return undefined
      const failures = tls.names.map(name => checkServerIdentity(name, certificate))
      return failures.includes(undefined) ? undefined : failures[0]
    },
  })
  socket.setNoDelay(true)
  return socket
}

const SYSTEM_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Connection refused',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  ENOENT: 'No such file or directory',
  ETIMEDOUT: 'Connection timed out',
}

/** Envoy's words for a connection that couldn't be made. */
export function connectionFailure(error: NodeJS.ErrnoException): string {
  const text = SYSTEM_TEXTS[error.code ?? '']
  return text === undefined
    ? 'remote_connection_failure'
    : `remote_connection_failure|delayed_connect_error:_${text.replaceAll(' ', '_')}`
}
