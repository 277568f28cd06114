/** What the main thread and a worker tell each other. Everything that changes often lies in shared memory instead. */
import type { ModeOverride } from '../extproc/exchange.ts'
import type { TlsOptions } from '../grpc/tls.ts'
import type { ReleaseBy } from '../inference/endpoint-table.ts'
import type { PoolModels } from '../inference/pool-share.ts'
import type { RecordOptions } from '../pipeline/decision-records.ts'
import type { PlanShare } from '../pipeline/plan-share.ts'
import type { FinishedSpan } from '../telemetry/span.ts'
import type { MeasuringOptions } from './measuring.ts'

export type ListenAddress =
  | { readonly host: string; readonly port: number; readonly reusePort?: boolean }
  | { readonly path: string }

/** What is the same for all workers of a process. */
export interface WorkerOptions {
  readonly transport: 'own' | 'node'
  /** Peers with Envoy's limits (see `H2TransportOptions`). */
  readonly trust: 'all' | 'verified'
  readonly tls: TlsOptions | undefined
  readonly maxHeldBytes: number
  /** See `ExtProcOptions.maxMessageBytes`; undefined: its default. */
  readonly maxMessageBytes?: number | undefined
  readonly modeOverride: ModeOverride
  readonly maxConnectionAgeMs: number | undefined
  /** See `TransportOptions`; undefined: its defaults. */
  readonly maxConcurrentStreams?: number | undefined
  readonly maxConnections?: number | undefined
  readonly releaseBy: ReleaseBy
  /** Default: no decision records. */
  readonly records?: RecordOptions | undefined
  /** Default: nothing is measured by model and tenant, and nothing is traced. */
  readonly measuring?: MeasuringOptions | undefined
  /** Modules with plug-ins of the user's own. */
  readonly plugins: readonly string[]
}

/** Shared memory of all threads. */
interface SharedMemory {
  /** This thread's own. */
  readonly outcomes: SharedArrayBuffer
  readonly held: SharedArrayBuffer
  readonly figures: SharedArrayBuffer
  /** This thread's own; absent: nothing is measured by model and tenant. */
  readonly series?: SharedArrayBuffer | undefined
}

export interface WorkerStart {
  /** Column in everything that is counted by thread; the main thread is 0. */
  readonly thread: number
  readonly options: WorkerOptions
  readonly memory: SharedMemory
  /** A port that all threads listen on. */
  readonly shared: ListenAddress | undefined
  /** Where this thread alone listens. */
  readonly own: ListenAddress | undefined
  /** To be run one after the other before the first request: earlier plans, whose entries Envoys may still name, and the newest. */
  readonly plans: readonly PlanShare[]
  readonly version: number
  readonly ready: boolean
}

export type ToWorker =
  /** Run this plan from now on; answered by `adopted`. */
  | { readonly type: 'run'; readonly version: number; readonly share: PlanShare }
  | { readonly type: 'models'; readonly pool: string; readonly models: PoolModels }
  /** What health checks are to say. */
  | { readonly type: 'ready'; readonly ready: boolean }
  /** Write your figures now; answered by `published`. */
  | { readonly type: 'publish' }
  /** Ask one client of the shared port to connect anew; answered by `shed`. */
  | { readonly type: 'shed' }
  /** Take no more streams and finish the open ones; answered by `drained`. */
  | { readonly type: 'drain'; readonly graceMs: number }

export type FromWorker =
  | { readonly type: 'listening'; readonly shared: Listening | undefined; readonly own: Listening | undefined }
  | { readonly type: 'adopted'; readonly version: number }
  | { readonly type: 'published' }
  | { readonly type: 'shed'; readonly done: boolean }
  | { readonly type: 'drained' }
  /** A line of the trace of decisions. */
  | { readonly type: 'trace'; readonly line: string }
  /** The trace of a request that is over. */
  | { readonly type: 'spans'; readonly spans: readonly FinishedSpan[] }
  /** An error that ended a stream or a connection, for the log. */
  | { readonly type: 'error'; readonly message: string; readonly fields: Readonly<Record<string, unknown>> }

/** Where something listens, as bound. */
export interface Listening {
  readonly address: string
  /** 0: a Unix socket. */
  readonly port: number
}
