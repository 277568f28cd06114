import {
  type ChannelCredentials,
  type ClientDuplexStream,
  makeClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js'
import type { Listener } from '../gen/signalbox/peers/v1/peers_pb.ts'
import { peersService } from './peers-service.ts'

const PeersClient = makeClientConstructor(peersService, 'peers')
type Call = ClientDuplexStream<Uint8Array, Listener>

const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 5000
/** What may wait for a slow listener, bytes; then it hears nothing until it has caught up, and everything anew. */
const MOST_WAITING = 1024 * 1024

const CHANNEL = {
  'grpc.keepalive_time_ms': 5000,
  'grpc.keepalive_timeout_ms': 5000,
  'grpc.keepalive_permit_without_calls': 1,
  // We try again ourselves.
  'grpc.enable_retries': 0,
  // Over TLS: no server is known by a name, and an address may not be asked for.
  'grpc.ssl_target_name_override': 'signalbox-replica',
}

export interface PeerLinkOptions {
  readonly address: string
  readonly credentials: ChannelCredentials
  /** This replica's own name. */
  readonly replica: string
  /** All that there is to tell, for one who has heard nothing yet. */
  readonly state: () => Uint8Array
}

export type LinkState = 'connecting' | 'connected' | 'self'

/** Tells one other replica what this one does, again and again until `close`. */
export class PeerLink {
  state: LinkState = 'connecting'
  /** Why the last attempt failed; '' while none has. */
  failure = ''
  readonly #options: PeerLinkOptions
  readonly #client: InstanceType<typeof PeersClient>
  #call: Call | undefined
  #behind = false
  #pause = FIRST_PAUSE_MS
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: PeerLinkOptions) {
    this.#options = options
    this.#client = new PeersClient(options.address, options.credentials, CHANNEL)
    this.#connect()
  }

  /** Without effect while nobody listens. */
  send(report: Uint8Array): void {
    const call = this.#call
    if (call === undefined || this.state !== 'connected') return
    if (call.writableLength > MOST_WAITING) this.#behind = true
    else if (this.#behind) this.refresh()
    else call.write(report)
  }

  /** Tells everything. */
  refresh(): void {
    if (this.state !== 'connected' || this.#call === undefined || this.#call.writableLength > MOST_WAITING) return
    this.#behind = false
    this.#call.write(this.#options.state())
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#call?.cancel()
    this.#client.close()
  }

  #connect(): void {
    const call = (this.#client['tell'] as unknown as () => Call).call(this.#client)
    this.#call = call
    call.on('data', ({ replica }: Listener) => {
      if (replica === this.#options.replica) {
        this.state = 'self'
        this.#call = undefined
        call.cancel()
        return
      }
      this.state = 'connected'
      this.#pause = FIRST_PAUSE_MS
    })
    call.on('error', ({ details }: ServiceError) => {
      if (this.#call === call) this.failure = details
    })
    // An end without an error too.
    call.on('close', () => this.#ended(call))
    call.on('end', () => this.#ended(call))
    call.write(this.#options.state())
  }

  #ended(call: Call): void {
    if (this.#call !== call) return
    this.#call = undefined
    this.state = 'connecting'
    if (this.#closed) return
    this.#timer = setTimeout(() => this.#connect(), this.#pause * (0.5 + Math.random())).unref()
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE_MS)
  }
}
