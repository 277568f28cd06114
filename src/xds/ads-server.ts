/**
 * xDS management server: the aggregated discovery service (state of the world) and the access log service on one gRPC port.
 */
import {
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  setLogVerbosity,
  status,
} from '@grpc/grpc-js'
import { createServer } from 'node:net'
import { ageOf, type EnvoyAge, OLDEST_ENVOY } from '../compile/envoy/older-envoys.ts'
import type { Node } from '../gen/envoy/config/core/v3/base_pb.ts'
import type { DiscoveryRequest } from '../gen/envoy/service/discovery/v3/discovery_pb.ts'
import type { TlsOptions } from '../grpc/tls.ts'
import { removeStaleSocket } from '../grpc/unix-socket.ts'
import type { AccessLogEntry } from './access-log-reader.ts'
import { type AccessLogCall, type AccessLogDone, acceptAccessLogs } from './access-log-service.ts'
import { AdsStream } from './ads-stream.ts'
import { encodeDiscoveryResponse } from './discovery-response.ts'
import { type FailedHandshake, hearFailedHandshakes } from './failed-handshakes.ts'
import { accessLogService, aggregatedDiscoveryService } from './services.ts'
import type { SnapshotCache } from './snapshot-cache.ts'
import type { Refusal, Subscription } from './subscription.ts'
import { WatchedCredentials } from './watched-credentials.ts'

export interface AdsServerOptions {
  readonly cache: SnapshotCache
  /** `host:port` (port 0 chooses one), or a Unix domain socket; a socket file left by a dead process is replaced. */
  readonly listen: { readonly address: string } | { readonly pipe: string }
  /** Plaintext without. */
  readonly tls?: TlsOptions
  /** Changed certificate files cannot be used; the earlier ones stay. */
  readonly onTlsError?: (error: unknown) => void
  /** With `tls`: a client could not shake hands. Whoever reaches the port can have it called as often as it likes. */
  readonly onFailedHandshake?: (failed: FailedHandshake) => void
  /** How long a client's judgement is waited for before the next step goes on without it. Default 5,000. */
  readonly ackTimeoutMs?: number
  /** The callbacks must not throw. */
  readonly onAck?: (event: AckEvent) => void
  readonly onNack?: (event: NackEvent) => void
  /** A client is too old: it is sent nothing. Once a stream. */
  readonly onTooOld?: (event: Pick<ClientStatus, 'nodeId' | 'userAgent'> & { readonly reason: string }) => void
  /** Each HTTP entry of Envoy's gRPC access log. */
  readonly onAccessLog?: (entry: AccessLogEntry) => void
}

export interface AckEvent {
  readonly nodeId: string
  readonly typeUrl: string
  readonly version: string
}

export interface NackEvent extends AckEvent {
  /** The client's own words. */
  readonly message: string
}

// grpc-js writes to the console what callers are told anyway.
if (process.env['GRPC_VERBOSITY'] === undefined && process.env['GRPC_NODE_VERBOSITY'] === undefined)
  setLogVerbosity(logVerbosity.NONE)

/** A connected client. */
export interface ClientStatus {
  readonly nodeId: string
  readonly nodeCluster: string
  /** For instance `envoy 1.40.0`. */
  readonly userAgent: string
  readonly peer: string
  readonly connectedAt: Date
  /** Why it is sent nothing. */
  readonly tooOld?: string
  /** Empty for a client that is too old. */
  readonly types: readonly TypeStatus[]
}

interface TypeStatus {
  readonly typeUrl: string
  /** Number of names that the client asked for; `*` = everything. */
  readonly wanted: number | '*'
  /** Number of resources that it was sent and still wants. */
  readonly resources: number
  /** Of the last response; empty when there was none. */
  readonly sentVersion: string
  /** Of the last accepted response; empty when there was none. */
  readonly ackedVersion: string
  /** The client has accepted all of the current configuration that it asked for. */
  readonly synced: boolean
  /** Set while the client refuses what it was sent last. */
  readonly refusal?: Refusal
}

type AdsCall = ServerDuplexStream<DiscoveryRequest, Uint8Array>

interface Client {
  readonly call: AdsCall
  readonly stream: AdsStream
  readonly connectedAt: Date
  /** Set by the first request; later ones may leave it out. */
  node?: { readonly id: string; readonly cluster: string; readonly userAgent: string; readonly age: EnvoyAge }
}

export class AdsServer {
  readonly #options: AdsServerOptions
  readonly #server: Server
  readonly #clients = new Set<Client>()
  readonly #unsubscribe: () => void
  #closing = false
  #credentials: WatchedCredentials | undefined

  constructor(options: AdsServerOptions) {
    this.#options = options
    this.#server = new Server({
      // An Envoy's first request holds all its extensions (60 KB) and may name thousands of endpoints' clusters.
      'grpc.max_receive_message_length': 32 * 1024 * 1024,
      'grpc.keepalive_time_ms': 30_000,
      'grpc.keepalive_timeout_ms': 10_000,
    })
    this.#server.addService(aggregatedDiscoveryService, {
      streamAggregatedResources: (call: AdsCall) => this.#accept(call),
    })
    const { onAccessLog } = options
    if (onAccessLog !== undefined) {
      this.#server.addService(accessLogService, {
        streamAccessLogs: (call: AccessLogCall, done: AccessLogDone) => acceptAccessLogs(call, done, onAccessLog),
      })
    }
    this.#unsubscribe = options.cache.subscribe(() => {
      for (const { stream } of this.#clients) stream.push()
    })
  }

  /** Returns the port, 0 for a pipe. Rejects when the address cannot be had. */
  async listen(): Promise<number> {
    const { listen, tls } = this.#options
    if ('pipe' in listen) await removeStaleSocket(listen.pipe)
    const target = 'pipe' in listen ? `unix:${listen.pipe}` : listen.address
    if (tls !== undefined)
      this.#credentials = await WatchedCredentials.load(tls, error => this.#options.onTlsError?.(error))
    const credentials = this.#credentials ?? ServerCredentials.createInsecure()
    const bind = async (): Promise<number | string> => {
      const bound = await new Promise<number | Error>(resolve => {
        this.#server.bindAsync(target, credentials, (error, port) => resolve(error ?? port))
      })
      if (typeof bound !== 'number') throw await listenError(listen, bound)
      return 'pipe' in listen ? listen.pipe : bound
    }
    const at = await hearFailedHandshakes(bind, failed => this.#options.onFailedHandshake?.(failed))
    return typeof at === 'string' ? 0 : at
  }

  /** All clients that have said who they are. */
  status(): ClientStatus[] {
    const clients: ClientStatus[] = []
    for (const { node, call, stream, connectedAt } of this.#clients) {
      if (node === undefined) continue
      const { id: nodeId, cluster: nodeCluster, userAgent, age } = node
      const tooOld = age === 'too-old'
      clients.push({
        nodeId,
        nodeCluster,
        userAgent,
        peer: call.getPeer(),
        connectedAt,
        ...(tooOld ? { tooOld: TOO_OLD } : {}),
        types: tooOld ? [] : stream.subscriptions.map(subscription => typeStatus(stream, subscription)),
      })
    }
    return clients
  }

  /** Ends all streams with UNAVAILABLE, so that clients go elsewhere or come back; they keep what they have. Frees the port. */
  async close(): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    this.#unsubscribe()
    this.#credentials?.close()
    for (const client of this.#clients) this.#end(client, status.UNAVAILABLE, 'the server is shutting down')
    await new Promise<void>(resolve => {
      // Access log streams never end by themselves.
      const force = setTimeout(() => this.#server.forceShutdown(), 500)
      this.#server.tryShutdown(() => {
        clearTimeout(force)
        resolve()
      })
    })
  }

  #accept(call: AdsCall): void {
    const { cache, ackTimeoutMs } = this.#options
    const stream = new AdsStream({
      snapshot: () => (client.node === undefined ? undefined : cache.snapshotFor(client.node.age)),
      send: answer => call.write(encodeDiscoveryResponse(answer)),
      ...(ackTimeoutMs !== undefined && { ackTimeoutMs }),
    })
    const client: Client = { call, stream, connectedAt: new Date() }
    if (this.#closing) return this.#end(client, status.UNAVAILABLE, 'the server is shutting down')
    this.#clients.add(client)
    const forget = (): void => {
      stream.close()
      this.#clients.delete(client)
    }
    call.on('data', (request: DiscoveryRequest) => this.#request(client, request))
    call.on('cancelled', forget)
    call.on('error', forget)
    call.on('close', forget)
    call.on('end', () => {
      forget()
      call.end()
    })
  }

  #request(client: Client, request: DiscoveryRequest): void {
    // What arrives after the end of a stream means nothing any more.
    if (!this.#clients.has(client)) return
    if (client.node === undefined) {
      const { node } = request
      if (node === undefined || node.id === '')
        return this.#end(client, status.INVALID_ARGUMENT, 'the first request needs node.id')
      const { id, cluster } = node
      const userAgent = userAgentOf(node)
      const age = ageOf(releaseOf(node))
      client.node = { id, cluster, userAgent, age }
      // The stream stays: closed, it would come back again and again, and be seen by nobody in between.
      if (age === 'too-old') this.#options.onTooOld?.({ nodeId: id, userAgent, reason: TOO_OLD })
    }
    if (client.node.age === 'too-old') return
    const { typeUrl, resourceNames, responseNonce, errorDetail } = request
    if (typeUrl === '')
      return this.#end(client, status.INVALID_ARGUMENT, 'an aggregated stream needs type_url in every request')
    const error = errorDetail?.message
    const meaning = client.stream.request(typeUrl, {
      resourceNames,
      responseNonce,
      ...(error !== undefined && { error }),
    })
    if (meaning !== 'ack' && meaning !== 'nack') return
    const subscription = client.stream.subscriptions.find(candidate => candidate.typeUrl === typeUrl)
    const nodeId = client.node.id
    if (meaning === 'ack') this.#options.onAck?.({ nodeId, typeUrl, version: subscription?.ackedVersion ?? '' })
    else
      this.#options.onNack?.({ nodeId, typeUrl, version: subscription?.refusal?.version ?? '', message: error ?? '' })
  }

  #end(client: Client, code: status, details: string): void {
    client.stream.close()
    this.#clients.delete(client)
    client.call.emit('error', { code, details })
  }
}

const TOO_OLD = `sent nothing: Envoy ${OLDEST_ENVOY} is the oldest that is known to hold undecided requests back`

function typeStatus(stream: AdsStream, subscription: Subscription): TypeStatus {
  const { typeUrl, wanted, sent, sentVersion, ackedVersion, refusal } = subscription
  const synced = stream.isSynced(subscription)
  return {
    typeUrl,
    wanted,
    resources: sent.size,
    sentVersion,
    ackedVersion,
    synced,
    ...(refusal !== undefined && { refusal }),
  }
}

/** `envoy 1.40.0` */
function userAgentOf(node: Node): string {
  const version = node.userAgentVersionType
  if (version.case === 'userAgentVersion') return `${node.userAgentName} ${version.value}`
  const build = releaseOf(node)
  return build === undefined
    ? node.userAgentName
    : `${node.userAgentName} ${build.majorNumber}.${build.minorNumber}.${build.patch}`
}

/** Undefined for clients that give no numbers. */
function releaseOf({ userAgentVersionType: version }: Node) {
  return version.case === 'userAgentBuildVersion' ? version.value.version : undefined
}

/** grpc-js does not say why it can't listen: the system's own error does, for a second try by node. */
async function listenError(listen: AdsServerOptions['listen'], error: Error): Promise<Error> {
  const url = 'pipe' in listen ? undefined : new URL(`http://${listen.address}`)
  const target =
    'pipe' in listen
      ? { path: listen.pipe }
      : { host: url!.hostname.replace(/^\[|\]$/g, ''), port: Number(url!.port || 80) }
  return new Promise(resolve => {
    const probe = createServer()
    probe.once('error', resolve)
    probe.listen(target, () => probe.close(() => resolve(error)))
  })
}
