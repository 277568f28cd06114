/** One endpoint of a cluster with its connections, kept over configuration updates as long as its cluster stays the same. */
import { Agent } from 'node:http'
import { type ClientHttp2Session, connect } from 'node:http2'
import type { Duplex } from 'node:stream'
import { ProcessorConnection, type ConnectionOptions } from './ext-proc-client.ts'
import { connectSocket, type Transport } from './transport.ts'
import { UNBOUNDED_SESSION_MEMORY } from './session-memory.ts'

export class Endpoint {
  readonly transport: Transport
  /** Requests in flight, for least-request balancing. */
  active = 0
  readonly #http2: ConnectionOptions
  #agent: Agent | undefined
  #session: ClientHttp2Session | undefined
  readonly #sessions = new Set<ClientHttp2Session>()
  #processor: ProcessorConnection | undefined

  constructor(transport: Transport, http2: ConnectionOptions) {
    this.transport = transport
    this.#http2 = http2
  }

  get name(): string {
    return this.transport.name
  }

  /** Keep-alive HTTP/1.1 connections. */
  get agent(): Agent {
    this.#agent ??= new EndpointAgent(this.transport, this.#http2.idleTimeoutMs)
    return this.#agent
  }

  /** The HTTP/2 connection; a new one after a loss or a GOAWAY. */
  get session(): ClientHttp2Session {
    const before = this.#session
    if (before !== undefined && !before.closed && !before.destroyed) return before
    const session = connect(`http://${this.name}`, {
      createConnection: () => connectSocket(this.transport, ['h2']),
      maxSessionMemory: UNBOUNDED_SESSION_MEMORY,
      settings: { enablePush: false, initialWindowSize: this.#http2.streamWindow },
    })
    const timer = setTimeout(() => session.destroy(new Error('connect timeout')), this.#http2.connectTimeoutMs)
    session.once('connect', () => {
      clearTimeout(timer)
      if (!session.destroyed) session.setLocalWindowSize(this.#http2.connectionWindow)
    })
    const forget = (): void => {
      if (this.#session === session) this.#session = undefined
    }
    session.on('goaway', forget)
    // Streams report what became of them.
    session.on('error', forget)
    session.once('close', () => {
      clearTimeout(timer)
      forget()
      this.#sessions.delete(session)
    })
    this.#session = session
    this.#sessions.add(session)
    return session
  }

  /** The connection for ext_proc streams. */
  get processor(): ProcessorConnection {
    this.#processor ??= new ProcessorConnection(this.transport, this.#http2)
    return this.#processor
  }

  /** Out of the configuration: open requests finish, then the connections go. */
  retire(): void {
    const agent = this.#agent
    if (agent !== undefined) {
      agent.removeAllListeners('free')
      agent.on('free', (socket: Duplex) => socket.destroy())
      for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
    }
    this.#agent = undefined
    for (const session of this.#sessions) session.close()
    this.#session = undefined
    this.#processor?.retire()
  }

  destroy(): void {
    this.#agent?.destroy()
    for (const session of this.#sessions) session.destroy()
    this.#processor?.destroy()
  }
}

class EndpointAgent extends Agent {
  readonly #transport: Transport

  /** The time-out only ends sockets that are free. */
  constructor(transport: Transport, timeout: number) {
    super({ keepAlive: true, maxFreeSockets: 1024, scheduling: 'lifo', timeout })
    this.#transport = transport
  }

  override createConnection(): Duplex {
    return connectSocket(this.#transport, ['http/1.1'])
  }
}
