import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Server } from 'node:tls'

/** Node tells of every server that is about to listen. */
const LISTENING = 'tracing:net.server.listen:asyncStart'

/** A client did not get as far as HTTP/2: it speaks plaintext, has no certificate that counts, or does not trust ours. */
export interface FailedHandshake {
  readonly error: Error
  /** Address of the client; '' = it is not known any more. */
  readonly peer: string
}

/**
 * Hears of failed handshakes with TLS servers that somebody else makes: grpc-js keeps its own, and their errors, to itself. `listen` has them
 * listen, and resolves with their port, or the path of their socket.
 */
export async function hearFailedHandshakes<T extends number | string>(
  listen: () => Promise<T>,
  onFailed: (failed: FailedHandshake) => void,
): Promise<T> {
  const servers: Server[] = []
  const hear = (message: unknown): void => {
    const { server } = message as { readonly server: unknown }
    if (server instanceof Server) servers.push(server)
  }
  subscribe(LISTENING, hear)
  try {
    const at = await listen()
    for (const server of servers) {
      const address = server.address()
      // Others may have begun to listen in the meantime.
      if (address === null || (typeof address === 'string' ? address : address.port) !== at) continue
      server.on('tlsClientError', (error, socket) => onFailed({ error, peer: socket.remoteAddress ?? '' }))
    }
    return at
  } finally {
    unsubscribe(LISTENING, hear)
  }
}
