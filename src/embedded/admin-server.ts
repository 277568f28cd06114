/** The admin interface of the embedded data plane, on loopback: `/ready`, `/stats`, `/config_dump`. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { EnvoyResources } from '../config/envoy-resources.ts'

/** Keys stay here, also inline ones. */
const PRIVATE = new Set(['privateKey', 'private_key', 'password'])

export interface AdminSource {
  stats(): Record<string, number>
  resources(): EnvoyResources
}

export class AdminServer {
  readonly #server: Server
  readonly #source: AdminSource

  constructor(source: AdminSource) {
    this.#source = source
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0
  }

  /** Rejects with the system's error. */
  async listen(port: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#server.once('error', reject)
    this.#server.listen(port, '127.0.0.1', resolve)
    await promise
    this.#server.off('error', reject)
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url?.split('?', 1)[0]
    request.resume()
    if (request.method !== 'GET' && request.method !== 'HEAD') response.writeHead(405, { allow: 'GET, HEAD' }).end()
    else if (path === '/ready') response.writeHead(200, { 'content-type': 'text/plain' }).end('LIVE\n')
    else if (path === '/stats') {
      const lines = Object.entries(this.#source.stats()).map(([name, value]) => `${name}: ${value}\n`)
      response.writeHead(200, { 'content-type': 'text/plain' }).end(lines.join(''))
    } else if (path === '/config_dump') {
      const { secrets, ...shown } = this.#source.resources()
      const names = secrets.map(secret => ({ name: secret['name'] ?? null }))
      const dump = JSON.stringify(
        { ...shown, secrets: names },
        (key, value: unknown) => (PRIVATE.has(key) ? '[redacted]' : value),
        1,
      )
      response.writeHead(200, { 'content-type': 'application/json' }).end(dump)
    } else response.writeHead(404).end()
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    this.#server.closeAllConnections()
    await promise
  }
}
