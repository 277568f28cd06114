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
/**
 * A second call of a replica is refused while the first told something so lately: who has learned its name cannot cut it off. A replica whose
 * call has broken gets through all the same: it tries again and again, its refreshes do not come on the old call, and keepalives end that.
 * Names prove nothing: whoever must not be believed is kept out by `tls`.
 */
const LIVE_MS = 2 * REFRESH_MS
/** From the beginning of a call to its first report. */
const FIRST_REPORT_MS = 5000
const MOST_PEERS = 256
/** Also such as have not said who they are, and those that come again while their old call ends. */
const MOST_CALLS = 2 * MOST_PEERS
const MOST_MESSAGE_BYTES = 4 * 1024 * 1024

const CHANNEL = {
  'grpc.keepalive_time_ms': 5000,
  'grpc.keepalive_timeout_ms': 5000,
  // A replica has one call; it may come again before the old one is over.
  'grpc.max_concurrent_streams': 8,
  'grpc.max_receive_message_length': MOST_MESSAGE_BYTES,
  'grpc.max_connection_idle_ms': 30_000,
}

export interface PeersOptions {
  readonly places: PeerPlaces
  readonly listen: { readonly host: string; readonly port: number }
  /** PEM files for both sides of every connection: a replica shows `certFile` and is believed when `caFile` has signed it. Absent: plaintext. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string; readonly caFile: string } | undefined
  readonly pools: () => ReadonlyMap<string, PoolKeeper>
  readonly log: Log
  /** For tests. */
  readonly firstReportMs?: number
  readonly liveMs?: number
  readonly silentMs?: number
  readonly mostCalls?: number
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
  readonly #server = new Server(CHANNEL)
  /** Open calls of others. */
  readonly #calls = new Set<Call>()
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
    const { silentMs = SILENT_MS } = this.#options
    for (const { call, heardAt } of this.#tellers.values())
      if (now - heardAt > silentMs) hangUp(call, status.DEADLINE_EXCEEDED, 'nothing was told for long')
  }

  #look(): void {
    const { log } = this.#options
    for (const { address, reached, failure } of this.#watch.look(this.#links))
      if (reached) log.warn({ address }, 'another replica is reached again')
      else log.warn({ address, why: failure }, 'another replica is not reached: it does not know what this one does')
  }

  #hear(call: Call): void {
    let peer = ''
    if (this.#calls.size >= (this.#options.mostCalls ?? MOST_CALLS)) {
      call.on('error', () => {})
      hangUp(call, status.RESOURCE_EXHAUSTED, 'too many calls')
      return
    }
    this.#calls.add(call)
    const { firstReportMs = FIRST_REPORT_MS } = this.#options
    const silent = setTimeout(
      () => hangUp(call, status.DEADLINE_EXCEEDED, 'a replica says who it is at once'),
      firstReportMs,
    ).unref()
    const gone = (): void => {
      clearTimeout(silent)
      this.#calls.delete(call)
      if (peer === '' || this.#tellers.get(peer)?.call !== call) return
      this.#tellers.delete(peer)
      this.inbox.forget(peer)
    }
    call.on('data', (report: Report) => {
      // One that was hung up on may have sent more.
      if (!this.#calls.has(call)) return
      if (peer === '') {
        if (!this.#welcome(call, report.replica)) return
        peer = report.replica
        clearTimeout(silent)
        call.write(this.replica)
      }
      if (peer === this.replica) return
      const teller = this.#tellers.get(peer)
      if (teller?.call !== call) return
      teller.heardAt = performance.now()
      this.inbox.take(peer, report)
    })
    call.on('end', () => {
      gone()
      call.end()
    })
    call.on('error', gone)
    call.on('close', gone)
    call.on('cancelled', gone)
  }

  /** Whether the replica may tell on this call; if not, the call is over. */
  #welcome(call: Call, replica: string): boolean {
    const before = this.#tellers.get(replica)
    if (replica === '' || replica.length > 64 || (before === undefined && this.#tellers.size >= MOST_PEERS)) {
      hangUp(call, status.INVALID_ARGUMENT, 'a replica says who it is, and there are not too many of them')
      return false
    }
    if (replica === this.replica) return true
    const now = performance.now()
    if (before !== undefined) {
      if (now - before.heardAt < (this.#options.liveMs ?? LIVE_MS)) {
        hangUp(call, status.ALREADY_EXISTS, 'this replica tells on another call')
        return false
      }
      hangUp(before.call, status.ALREADY_EXISTS, 'this replica tells on another call')
      // It tells all it has in its first report.
      this.inbox.forget(replica)
    }
    this.#tellers.set(replica, { call, heardAt: now })
    return true
  }
}
