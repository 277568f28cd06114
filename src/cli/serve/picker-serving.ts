import type { CompileOptions } from '../../compile/compile.ts'
import type { GatewayPools } from '../../compile/gateway-pools.ts'
import type { TextFile } from '../../config/object-set.ts'
import type { TlsOptions } from '../../grpc/tls.ts'
import type { LeasePlace } from '../../kubernetes/lease.ts'
import type { ElectionTiming } from '../../kubernetes/leader-election.ts'

/** What `signalbox epp` has beyond the options of `signalbox serve`. */
export interface PickerServing {
  /** The pools that gateways reach through us. */
  readonly pools: GatewayPools
  /** API group of the pools that are followed. */
  readonly poolGroup: string
  /** A configuration that is no file. Its InferencePools' pods are followed. */
  readonly texts: readonly TextFile[]
  /** Where gRPC health is served besides the ext_proc port, in plaintext. */
  readonly health: { readonly host: string; readonly port: number } | undefined
  /** The admin port asks the API server who may read it. */
  readonly authorizes: boolean
  /** The admin port's certificate, and whose authority clients there must show; undefined: plaintext. */
  readonly adminTls: TlsOptions | undefined
  /** How long everything is served as before after SIGTERM, not ready, so that gateways turn away by themselves. */
  readonly lameDuckMs: number
  /** Longest ext_proc message; undefined: the service's own limit. */
  readonly maxMessageBytes: number | undefined
  /** Of the replicas only one is ready, the leader; undefined: all are. */
  readonly election: ElectionSettings | undefined
  readonly compile: Pick<CompileOptions, 'ignoreSubset' | 'stableOnly' | 'scrape' | 'modelPools'>
  readonly tls: Pick<TlsOptions, 'minVersion' | 'ciphers' | 'reloadMs'>
}

export interface ElectionSettings {
  readonly lease: LeasePlace
  /** Undefined: the host's name tells replicas apart. */
  readonly podName: string | undefined
  readonly timing: ElectionTiming
}
