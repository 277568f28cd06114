import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** Answer of the admin interface. */
interface AdminAnswer {
  readonly status: number
  readonly text: string
}

/** Client of one Envoy's admin interface. Opens a connection per question, so nothing is left open. */
export class EnvoyAdmin {
  /** Without a slash at the end. */
  readonly url: string

  constructor(url: string) {
    this.url = url
  }

  /** Whether `/ready` says LIVE; false also when nobody answers. */
  async isLive(): Promise<boolean> {
    const answer = await this.#ask('GET', '/ready').catch(() => undefined)
    return answer?.status === 200 && answer.text.trim() === 'LIVE'
  }

  /** Body of `path`, for instance `/config_dump`. @throws {Error} no answer, or one that isn't 200 */
  async get(path: string): Promise<string> {
    return this.#ok('GET', path)
  }

  /** As `get` for paths that change something, for instance `/drain_listeners`. */
  async post(path: string): Promise<string> {
    return this.#ok('POST', path)
  }

  /** Counters and gauges whose name matches the regular expression. Those that were never touched are 0 and included. */
  async stats(filter: string): Promise<Readonly<Record<string, number>>> {
    const text = await this.get(`/stats?format=json&filter=${encodeURIComponent(filter)}`)
    const { stats } = JSON.parse(text) as { stats: { name?: string; value?: unknown }[] }
    const values: Record<string, number> = {}
    for (const { name, value } of stats) {
      if (name !== undefined && typeof value === 'number') values[name] = value
    }
    return values
  }

  /**
   * The port that a listener really has (useful with port 0), waiting until the listener is there.
   * @throws {Error} it isn't after `timeoutMs` (default 10 s); the message names the listeners there are
   */
  async listenerPort(name: string, timeoutMs = 10_000): Promise<number> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const ports = await this.#listenerPorts()
      const port = ports.get(name)
      if (port !== undefined && port !== 0) return port
      if (Date.now() > deadline) {
        const names = [...ports.keys()].join(', ') || 'none'
        throw new Error(`Envoy has no listener ${name} after ${timeoutMs / 1000} s (it has: ${names})`)
      }
      await sleep(20)
    }
  }

  async #listenerPorts(): Promise<ReadonlyMap<string, number>> {
    interface Status {
      name: string
      local_address?: { socket_address?: { port_value?: number } }
    }
    const { listener_statuses: statuses = [] } = JSON.parse(await this.get('/listeners?format=json')) as {
      listener_statuses?: Status[]
    }
    return new Map(statuses.map(status => [status.name, status.local_address?.socket_address?.port_value ?? 0]))
  }

  async #ok(method: 'GET' | 'POST', path: string): Promise<string> {
    const { status, text } = await this.#ask(method, path)
    if (status !== 200) throw new Error(`Envoy admin ${method} ${path}: ${status} ${text.trim()}`)
    return text
  }

  #ask(method: 'GET' | 'POST', path: string): Promise<AdminAnswer> {
    return new Promise((resolve, reject) => {
      const outgoing = request(this.url + path, { method, agent: false, timeout: 10_000 }, incoming => {
        const parts: Buffer[] = []
        incoming.on('data', (part: Buffer) => parts.push(part))
        incoming.on('error', reject)
        incoming.on('end', () => resolve({ status: incoming.statusCode!, text: Buffer.concat(parts).toString() }))
      })
      outgoing.on('timeout', () => outgoing.destroy(new Error(`Envoy admin ${path}: no answer`)))
      outgoing.on('error', reject)
      outgoing.end()
    })
  }
}
