/**
 * Replicas of Signalbox that serve side by side (no leader) tell each other what each of them has in flight, and which prompts went where: so that
 * several place requests nearly as well as one would. Each tells all others, some times a second and only what changed; nothing waits
 * for it, and what is lost only makes a placement less good.
 */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { credentials, Server, type ServerDuplexStream, ServerCredentials, status } from '@grpc/grpc-js'
import type { Report } from '../gen/signalbox/peers/v1/peers_pb.ts'
import type { PoolKeeper } from '../inference/pool-keeper.ts'
import type { Log } from '../telemetry/log.ts'
import { Inbox } from './inbox.ts'
import { Outbox } from './outbox.ts'
import { PeerAddresses, type PeerPlaces } from './peer-addresses.ts'
import { PeerLink } from './peer-link.ts'
import { PeerWatch } from './peer-watch.ts'
import { peersService } from './peers-service.ts'

const TELL_MS = 25
/** Everybody is told everything: what was lost in between, and pools that a listener had not yet, heal. */
const REFRESH_MS = 5000
/** A replica that has told nothing for so long is gone, whatever its connection says. */
const SILENT_MS = 20_000
const MOST_PEERS = 256

export interface PeersOptions {
  readonly places: PeerPlaces
  readonly listen: { readonly host: string; readonly port: number }
  /** PEM files for both sides of every connection: a replica shows `certFile` and is believed when `caFile` has signed it. Absent: plaintext. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string; readonly caFile: string } | undefined
  readonly pools: () => ReadonlyMap<string, PoolKeeper>
  readonly log: Log
}

type Call = ServerDuplexStream<Report, string>

interface Teller {
  readonly call: Call
  heardAt: number
}

/** grpc-js sends the status of an error that a call emits. */
function hangUp(call: Call, code: status, details: string): void {
  call.emit('error', Object.assign(new Error(details), { code, details }))
}

export class Peers {
  /** Random, for the life of the process. */
  readonly replica = randomUUID()
  readonly inbox: Inbox
  readonly outbox: Outbox
  port = 0
  readonly #options: PeersOptions
  readonly #addresses: PeerAddresses
  readonly #links = new Map<string, PeerLink>()
  readonly #watch = new PeerWatch()
  readonly #tellers = new Map<string, Teller>()
  readonly #server = new Server({ 'grpc.keepalive_time_ms': 5000, 'grpc.keepalive_timeout_ms': 5000 })
  readonly #timers: NodeJS.Timeout[] = []
  #channel = credentials.createInsecure()

  constructor(options: PeersOptions) {
    this.#options = options
    this.inbox = new Inbox(options.pools)
    this.outbox = new Outbox(() => options.pools().values())
    this.#addresses = new PeerAddresses(
      options.places,
      addresses => this.#follow(addresses),
      error => options.log.warn({ err: error }, 'other replicas cannot be looked up'),
    )
  }

  /** Rejects when the address or the files cannot be used. */
  async start(): Promise<void> {
    const { listen } = this.#options
    const server = await this.#credentials()
    this.#server.addService(peersService, { tell: (call: Call) => this.#hear(call) })
    const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
    this.port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(`${host}:${listen.port}`, server, (error, port) =>
        error === null ? resolve(port) : reject(error),
      )
    })
    this.#addresses.start()
    this.#every(TELL_MS, () => this.#tell())
    this.#every(REFRESH_MS, () => this.#refresh())
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer)
    this.#addresses.stop()
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
    this.#server.forceShutdown()
  }

  /** Other replicas that hear us, and those that we hear. */
  get connected(): { readonly hear: number; readonly heard: number } {
    const hear = [...this.#links.values()].filter(({ state }) => state === 'connected').length
    return { hear, heard: this.#tellers.size }
  }

  #every(ms: number, act: () => void): void {
    this.#timers.push(setInterval(act, ms).unref())
  }

  async #credentials(): Promise<ServerCredentials> {
    const { tls } = this.#options
    if (tls === undefined) return ServerCredentials.createInsecure()
    const [cert, key, ca] = await Promise.all([tls.certFile, tls.keyFile, tls.caFile].map(file => readFile(file)))
    // Replicas are reached by addresses that no certificate names: the authority alone says who is one.
    this.#channel = credentials.createSsl(ca, key, cert, { checkServerIdentity: () => undefined })
    return ServerCredentials.createSsl(ca!, [{ private_key: key!, cert_chain: cert! }], true)
  }

  #follow(addresses: readonly string[]): void {
    const wanted = new Set(addresses.slice(0, MOST_PEERS))
    for (const [address, link] of this.#links) {
      if (wanted.has(address)) continue
      link.close()
      this.#links.delete(address)
    }
    for (const address of wanted) {
      if (this.#links.has(address)) continue
      const link = new PeerLink({
        address,
        credentials: this.#channel,
        replica: this.replica,
        state: () => this.outbox.state(this.replica),
      })
      this.#links.set(address, link)
    }
  }

  #tell(): void {
    // Also when nobody listens: what threads note must not pile up.
    const report = this.outbox.changes()
    if (report !== undefined) for (const link of this.#links.values()) link.send(report)
  }

  #refresh(): void {
    for (const link of this.#links.values()) link.refresh()
    // Those of a name come and go with their pods.
    if (this.#options.places.kind === 'list') this.#look()
    const now = performance.now()
    for (const { call, heardAt } of this.#tellers.values())
      if (now - heardAt > SILENT_MS) hangUp(call, status.DEADLINE_EXCEEDED, 'nothing was told for long')
  }

  #look(): void {
    const { log } = this.#options
    for (const { address, reached, failure } of this.#watch.look(this.#links))
      if (reached) log.warn({ address }, 'another replica is reached again')
      else log.warn({ address, why: failure }, 'another replica is not reached: it does not know what this one does')
  }

  #hear(call: Call): void {
    let peer = ''
    call.on('error', () => {})
    call.on('data', (report: Report) => {
      if (peer === '') {
        if (report.replica === '' || report.replica.length > 64 || this.#isTooMany(report.replica)) {
          hangUp(call, status.INVALID_ARGUMENT, 'a replica says who it is, and there are not too many of them')
          return
        }
        peer = report.replica
        call.write(this.replica)
        if (peer === this.replica) return
        const before = this.#tellers.get(peer)
        this.#tellers.set(peer, { call, heardAt: performance.now() })
        // It tells all it has in its first report.
        if (before !== undefined) {
          hangUp(before.call, status.ALREADY_EXISTS, 'this replica tells on another call')
          this.inbox.forget(peer)
        }
      }
      if (peer === this.replica) return
      const teller = this.#tellers.get(peer)
      if (teller?.call !== call) return
      teller.heardAt = performance.now()
      this.inbox.take(peer, report)
    })
    const gone = (): void => {
      if (peer === '' || this.#tellers.get(peer)?.call !== call) return
      this.#tellers.delete(peer)
      this.inbox.forget(peer)
    }
    call.on('end', () => {
      gone()
      call.end()
    })
    call.on('close', gone)
    call.on('cancelled', gone)
  }

  #isTooMany(replica: string): boolean {
    return this.#tellers.size >= MOST_PEERS && !this.#tellers.has(replica)
  }
}
