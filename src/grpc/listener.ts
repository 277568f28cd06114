/** What both implementations of the transport seam have in common: a listening socket, its connections and their end. */
import { once } from 'node:events'
import { Server } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { Server as TlsServer } from 'node:tls'
import type { TlsCredentials } from './tls.ts'
import type { TransportOptions } from './transport-options.ts'
import type { TransportServer } from './transport.ts'
import { removeStaleSocket } from './unix-socket.ts'

/** A connection as its listener sees it. */
export interface ListenedConnection {
  readonly streamCount: number
  /** Lets the open streams finish; what is left after `graceMs` ends with UNAVAILABLE. */
  retire(graceMs: number): void
  /** Retires the connection when it is `ageMs` old. */
  limitAge(ageMs: number, graceMs: number): void
  /** Retires the connection when it has had no stream for `idleMs`. */
  retireIfIdle(idleMs: number): void
  /** Called every keepalive interval: a peer that did not answer the last call's ping is dead. */
  probe(): void
  destroy(): void
}

const MAX_CONNECTIONS = 10_000
/** Sockets beyond the limit, so that they can be told of it; more are closed without a word. */
export const MOST_BEYOND = 64
const KEEPALIVE_MS = 20_000
const AGE_GRACE_MS = 600_000
const AGE_JITTER = 0.1
const LARGEST_DELAY_MS = 0x7fffffff

export class Listener implements TransportServer {
  readonly retainsParts: boolean
  address = ''
  port = 0
  readonly #options: TransportOptions
  readonly #server: Server | TlsServer
  readonly #credentials: TlsCredentials | undefined
  readonly #connections = new Set<ListenedConnection>()
  /** Connections of strangers, in the order in which they came. */
  readonly #strangers = new Set<ListenedConnection>()
  /** Connections that were shed and still have streams. */
  readonly #shed = new Set<ListenedConnection>()
  readonly #timers: NodeJS.Timeout[] = []
  #stopped = false
  #whenEmpty: (() => void) | undefined

  constructor(
    server: Server | TlsServer,
    options: TransportOptions,
    credentials: TlsCredentials | undefined,
    retainsParts: boolean,
  ) {
    this.#server = server
    this.#options = options
    this.#credentials = credentials
    this.retainsParts = retainsParts
  }

  /** Rejects when the address cannot be used. */
  async listen(): Promise<void> {
    const { listen, keepaliveMs = KEEPALIVE_MS, maxConnectionIdleMs, onError } = this.#options
    // Over TLS a connection is ours once it has shaken hands, and only then can be told that it is one too many; those that never do must not
    // be without limit.
    if (this.#credentials !== undefined) this.#server.maxConnections = this.#maxConnections + MOST_BEYOND
    if ('path' in listen) await removeStaleSocket(listen.path)
    this.#server.listen(listen)
    await once(this.#server, 'listening')
    this.#server.on('error', error => onError?.(error, 'connection', this.address))
    if ('path' in listen) {
      this.address = `unix:${listen.path}`
    } else {
      const bound = this.#server.address() as AddressInfo
      this.port = bound.port
      this.address = `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
    }
    if (keepaliveMs > 0) this.#everyMs(keepaliveMs, connection => connection.probe())
    if (maxConnectionIdleMs !== undefined) {
      this.#everyMs(maxConnectionIdleMs / 4, connection => connection.retireIfIdle(maxConnectionIdleMs))
    }
    this.#credentials?.watch(
      context => (this.#server as TlsServer).setSecureContext(context),
      error => onError?.(error, 'certificate', this.address),
    )
  }

  /**
   * False: a connection that comes now is to be closed at once. Strangers, where others are better known, have half of the places at most, and
   * when all are taken one of them makes room for who is no stranger, one without streams first.
   */
  accepts(isStranger = false): boolean {
    if (this.#stopped) return false
    if (isStranger && this.#strangers.size >= Math.max(1, this.#maxConnections >>> 1)) return false
    if (this.#connections.size < this.#maxConnections) return true
    if (isStranger || this.#strangers.size === 0) return false
    let least: ListenedConnection | undefined
    for (const stranger of this.#strangers) {
      if (least === undefined || stranger.streamCount < least.streamCount) least = stranger
      if (least.streamCount === 0) break
    }
    least!.destroy()
    // Where the end is told later, it is known now.
    this.remove(least!)
    return true
  }

  get #maxConnections(): number {
    return this.#options.maxConnections ?? MAX_CONNECTIONS
  }

  add(connection: ListenedConnection, isStranger = false): void {
    this.#connections.add(connection)
    if (isStranger) this.#strangers.add(connection)
    const { maxConnectionAgeMs: age, maxConnectionAgeJitter: jitter = AGE_JITTER } = this.#options
    if (age === undefined) return
    const grace = this.#options.maxConnectionAgeGraceMs ?? AGE_GRACE_MS
    // node turns a longer delay into 1 ms.
    connection.limitAge(Math.min(age * (1 + jitter * (2 * Math.random() - 1)), LARGEST_DELAY_MS), grace)
  }

  remove(connection: ListenedConnection): void {
    this.#connections.delete(connection)
    this.#strangers.delete(connection)
    this.#shed.delete(connection)
    if (this.#connections.size === 0) this.#whenEmpty?.()
  }

  get streams(): number {
    let sum = 0
    for (const connection of this.#connections) sum += connection.streamCount
    return sum
  }

  get connections(): number {
    return this.#connections.size
  }

  shed(): boolean {
    const connections = [...this.#connections].filter(connection => !this.#shed.has(connection))
    if (connections.length < 2) return false
    connections.sort((a, b) => b.streamCount - a.streamCount)
    const median = connections[connections.length >> 1]!
    this.#shed.add(median)
    median.retire(this.#options.maxConnectionAgeGraceMs ?? AGE_GRACE_MS)
    return true
  }

  async drain(graceMs: number): Promise<void> {
    this.#stop()
    for (const connection of this.#connections) connection.retire(graceMs)
    await this.#empty()
  }

  async close(): Promise<void> {
    this.#stop()
    for (const connection of this.#connections) connection.destroy()
    await this.#empty()
  }

  #stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#credentials?.close()
    for (const timer of this.#timers) clearInterval(timer)
    // node's own `close` for HTTP/2 servers would also end the sessions, without a notice.
    Server.prototype.close.call(this.#server)
  }

  #empty(): Promise<void> {
    return new Promise(resolve => {
      const before = this.#whenEmpty
      this.#whenEmpty = () => {
        before?.()
        resolve()
      }
      if (this.#connections.size === 0) this.#whenEmpty()
    })
  }

  #everyMs(interval: number, act: (connection: ListenedConnection) => void): void {
    const timer = setInterval(() => {
      for (const connection of this.#connections) act(connection)
    }, interval)
    this.#timers.push(timer.unref())
  }
}
