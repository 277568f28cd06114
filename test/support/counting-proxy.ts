import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Passes TCP connections on and counts what goes over them: what really reaches a server, framing included. */
export class CountingProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Bytes from clients to the server since `reset`. */
  toServer = 0
  /** Bytes from the server to clients since `reset`. */
  toClient = 0

  private constructor(target: number) {
    this.#server = createServer({ noDelay: true }, client => {
      const server = connect({ host: '127.0.0.1', port: target, noDelay: true })
      this.#pass(client, server, bytes => (this.toServer += bytes))
      this.#pass(server, client, bytes => (this.toClient += bytes))
    })
  }

  /** Listens at `host` (a port of 0: any) in front of 127.0.0.1:`target`. */
  static async start(target: number, host = '127.0.0.1', port = 0): Promise<CountingProxy> {
    const proxy = new CountingProxy(target)
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject)
      proxy.#server.listen(port, host, resolve)
    })
    return proxy
  }

  /** `host:port` */
  get address(): string {
    const { address, port } = this.#server.address() as AddressInfo
    return `${address}:${port}`
  }

  reset(): void {
    this.toServer = 0
    this.toClient = 0
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #pass(from: Socket, to: Socket, count: (bytes: number) => void): void {
    this.#sockets.add(from)
    from.on('data', bytes => {
      count(bytes.length)
      to.write(bytes)
    })
    from.on('error', () => {})
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroy()
    })
  }
}
