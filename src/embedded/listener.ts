/**
 * A listening socket that takes HTTP/1.1 and HTTP/2: by prior knowledge (the first bytes tell) on plain TCP, by ALPN under TLS,
 * where the server name chooses the chain.
 */
import type { Server as HttpServer } from 'node:http'
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, createServer as createTlsServer, type SecureContext, type TLSSocket } from 'node:tls'
import type { ChainSettings, ListenerSettings } from './configuration.ts'
import type { CodecOptions, ListenerAddress, RequestHandler } from './downstream.ts'
import { http1Server } from './downstream-http1.ts'
import { http2Server } from './downstream-http2.ts'

interface Chain {
  readonly settings: ChainSettings
  readonly http1: HttpServer
  readonly http2: Http2Server
  readonly context: SecureContext | undefined
}

export class Listener {
  /** The text of the configured address; another one needs another listener. */
  readonly identity: string
  bound: ListenerAddress
  #chains: readonly Chain[] = []
  readonly #server: Server
  readonly #drain = { now: false }
  readonly #sockets = new Map<Socket, { requests: number; session: boolean }>()
  readonly #sessions = new Set<ServerHttp2Session>()
  readonly #handler: (chain: ChainSettings) => RequestHandler

  constructor(settings: ListenerSettings, handler: (chain: ChainSettings) => RequestHandler) {
    this.identity = identityOf(settings)
    this.bound = settings.address
    this.#handler = handler
    const tls = settings.chains.find(chain => chain.tls !== undefined)?.tls
    this.update(settings)
    this.#server =
      tls === undefined
        ? createServer({ noDelay: true }, socket => this.#sniff(socket))
        : createTlsServer(
            {
              ALPNProtocols: ['h2', 'http/1.1'],
              minVersion: tls.minVersion,
              SNICallback: (name, done) => this.#chooseContext(name, done),
              requestCert: tls.ca !== undefined || tls.requireClientCertificate,
              rejectUnauthorized: tls.requireClientCertificate,
              ...(tls.ca === undefined ? {} : { ca: tls.ca }),
              // For clients that send no server name.
              ...tls.certificates[0],
            },
            socket => this.#secured(socket),
          )
  }

  /** Connections that are open stay with the codec they have. */
  update(settings: ListenerSettings): void {
    const before = this.#chains
    this.#chains = settings.chains.map(chain => {
      const same = before.find(
        other =>
          other.settings.key === chain.key && JSON.stringify(other.settings.codec) === JSON.stringify(chain.codec),
      )
      const options: CodecOptions = { ...chain.codec, drain: this.#drain }
      const handler: RequestHandler = (downstream, headers, end) =>
        this.#handler(this.#current(chain))(downstream, headers, end)
      const { tls } = chain
      const context =
        tls === undefined
          ? undefined
          : createSecureContext({
              cert: tls.certificates.map(pair => pair.cert),
              key: tls.certificates.map(pair => pair.key),
              minVersion: tls.minVersion,
              ...(tls.ca === undefined ? {} : { ca: tls.ca }),
            })
      return {
        settings: chain,
        context,
        http1: same?.http1 ?? this.#watchHttp1(http1Server(options, handler)),
        http2: same?.http2 ?? this.#watchHttp2(http2Server(options, handler)),
      }
    })
  }

  #current(chain: ChainSettings): ChainSettings {
    return this.#chains.find(other => other.settings.key === chain.key)?.settings ?? chain
  }

  #watchHttp1(server: HttpServer): HttpServer {
    server.on('request', (request, response) => {
      const state = this.#sockets.get(request.socket)
      if (state === undefined) return
      state.requests++
      response.once('close', () => {
        state.requests--
        if (this.#drain.now && state.requests === 0) request.socket.destroySoon()
      })
    })
    return server
  }

  #watchHttp2(server: Http2Server): Http2Server {
    server.on('session', session => {
      this.#sessions.add(session)
      session.once('close', () => this.#sessions.delete(session))
      session.on('error', () => session.destroy())
    })
    return server
  }

  /** Rejects with the system's error, `EADDRINUSE` for example. */
  async listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#server.once('error', reject)
    this.#server.listen({ host: this.bound.host, port: this.bound.port }, resolve)
    await promise
    this.#server.off('error', reject)
    // A connection that can't be accepted is the kernel's affair.
    this.#server.on('error', () => undefined)
    const bound = this.#server.address() as AddressInfo
    this.bound = { host: bound.address, port: bound.port }
  }

  #chooseContext(name: string, done: (error: Error | null, context?: SecureContext) => void): void {
    const chain = this.#chainOf(name)
    if (chain?.context === undefined) done(new Error(`no filter chain for server name ${name}`))
    else done(null, chain.context)
  }

  /** Exact name, the longest wildcard, then the chain for all names. */
  #chainOf(serverName: string | undefined): Chain | undefined {
    const name = serverName?.toLowerCase() ?? ''
    const exact = this.#chains.find(chain => chain.settings.serverNames.includes(name))
    if (exact !== undefined) return exact
    for (let rest = name; rest.includes('.'); ) {
      rest = rest.slice(rest.indexOf('.') + 1)
      const wildcard = this.#chains.find(chain => chain.settings.serverNames.includes(`*.${rest}`))
      if (wildcard !== undefined) return wildcard
    }
    return this.#chains.find(chain => chain.settings.serverNames.length === 0)
  }

  #secured(socket: TLSSocket): void {
    this.#track(socket)
    const chain = this.#chainOf(typeof socket.servername === 'string' ? socket.servername : undefined)
    if (chain === undefined) socket.destroy()
    else this.#give(socket, socket.alpnProtocol === 'h2', chain)
  }

  #sniff(socket: Socket): void {
    this.#track(socket)
    let seen: Buffer = Buffer.alloc(0)
    const look = (bytes: Buffer): void => {
      seen = Buffer.concat([seen, bytes])
      // No method of HTTP/1 starts with the three letters of HTTP/2's preface.
      const preface = 'PRI'.startsWith(seen.toString('latin1', 0, 3))
      if (preface && seen.length < 3) return
      socket.off('data', look)
      socket.pause()
      const [chain] = this.#chains
      if (chain === undefined) {
        socket.destroy()
        return
      }
      socket.unshift(seen)
      this.#give(socket, preface, chain)
    }
    socket.on('data', look)
  }

  #give(socket: Socket, http2: boolean, chain: Chain): void {
    const state = this.#sockets.get(socket)
    if (state !== undefined) state.session = http2
    if (http2) chain.http2.emit('connection', socket)
    else {
      chain.http1.emit('connection', socket)
      socket.resume()
    }
  }

  #track(socket: Socket): void {
    this.#sockets.set(socket, { requests: 0, session: false })
    socket.on('error', () => socket.destroy())
    socket.once('close', () => this.#sockets.delete(socket))
  }

  /** Takes no more connections; open requests get up to `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#drain.now = true
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    for (const session of this.#sessions) session.close()
    for (const [socket, state] of this.#sockets) if (state.requests === 0 && !state.session) socket.destroy()
    const timer = setTimeout(() => {
      for (const session of this.#sessions) session.destroy()
      for (const socket of this.#sockets.keys()) socket.destroy()
    }, graceMs)
    await promise
    clearTimeout(timer)
  }
}

export function identityOf(settings: ListenerSettings): string {
  const { host, port } = settings.address
  // Options of TLS that the server itself has.
  const tls = settings.chains.map(chain =>
    chain.tls === undefined ? 'plain' : [chain.tls.minVersion, chain.tls.ca, chain.tls.requireClientCertificate],
  )
  return JSON.stringify([host, port, tls[0] ?? 'plain'])
}
