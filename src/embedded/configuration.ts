/** Compiled Envoy resources as the embedded data plane runs them. */
import type { EnvoyResources } from '../config/envoy-resources.ts'
import type { ClusterSettings } from './cluster.ts'
import type { ExtProcSettings } from './ext-proc-settings.ts'
import type { LogRecord } from './access-log.ts'
import type { HeaderEdits } from './header-edits.ts'
import type { CodecOptions, ListenerAddress } from './downstream.ts'
import { readClusters } from './read-cluster.ts'
import { readListeners } from './read-listener.ts'
import type { ReplyMapper } from './read-local-replies.ts'
import { readRouteTables } from './read-routes.ts'
import { Problems } from './resource-reader.ts'
import type { RouteTable } from './route-table.ts'

export interface Configuration {
  readonly listeners: readonly ListenerSettings[]
  readonly routeTables: ReadonlyMap<string, RouteTable>
  readonly clusters: readonly ClusterSettings[]
}

/** A listening address with one or more chains of filters. */
export interface ListenerSettings {
  readonly name: string
  readonly address: ListenerAddress
  readonly chains: readonly ChainSettings[]
}

/** The connection manager that a connection gets, by its server name. */
export interface ChainSettings {
  /** Names the chain over updates. */
  readonly key: string
  /** Lower case; empty: any. */
  readonly serverNames: readonly string[]
  readonly tls: TlsServer | undefined
  readonly statPrefix: string
  readonly address: ListenerAddress
  /** Bytes held for one direction of a request, unless its route says otherwise. */
  readonly bufferLimit: number
  readonly routeTable: string
  /** In the listener itself; else by the name above. */
  readonly routes: RouteTable | undefined
  readonly extProc: ExtProcSettings | undefined
  readonly early: EarlyEdits
  /** For replies that are made here; the first that matches applies. */
  readonly localReplies: readonly ReplyMapper[]
  readonly codec: Omit<CodecOptions, 'drain'>
  readonly streamIdleTimeoutMs: number
  readonly generateRequestId: boolean
  readonly returnRequestId: boolean
  /** `x-request-id` and `x-forwarded-proto` of clients are not believed. */
  readonly edge: boolean
  readonly appendForwardedFor: boolean
  readonly stripPort: 'no' | 'matching' | 'any'
  readonly stripTrailingDot: boolean
  readonly path: {
    readonly normalize: boolean
    readonly mergeSlashes: boolean
    readonly escapedSlashes: 'keep' | 'reject' | 'redirect' | 'forward'
  }
  readonly accessLogs: readonly LogTarget[]
  readonly grpcLogs: readonly GrpcLog[]
}

export interface LogTarget {
  /** Path of a file; `/dev/stdout` and `/dev/stderr` are those of the process. */
  readonly target: string
  readonly line: (record: LogRecord) => string
}

/** An access log service. */
export interface GrpcLog {
  readonly cluster: string
  readonly logName: string
  readonly flushMs: number
  /** Names of headers and trailers of responses that entries have. */
  readonly responseHeaders: readonly string[]
  readonly responseTrailers: readonly string[]
}

/** What is done to a client's headers before a route is looked for. */
export interface EarlyEdits {
  readonly edits: HeaderEdits
  readonly removeMatching: readonly ((name: string) => boolean)[]
}

export interface TlsServer {
  /** PEM */
  readonly certificates: readonly { readonly cert: string; readonly key: string }[]
  readonly ca: string | undefined
  readonly requireClientCertificate: boolean
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
}

/** Throws `EmbeddedConfigurationError` with everything that can't be served. */
export function readConfiguration(resources: EnvoyResources): Configuration {
  const problems = new Problems()
  const configuration = {
    listeners: readListeners(resources.listeners, resources.secrets, problems),
    routeTables: readRouteTables(resources.routes, problems),
    clusters: readClusters(resources.clusters, resources.endpoints, problems),
  }
  problems.throwIfAny()
  return configuration
}
