/**
 * The data path of one thread: transport, ext_proc service, gRPC health and the linked plan. Everything else is on the main thread,
 * which says what to run (./messages.ts) and reads what is counted from shared memory.
 */
import { performance } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import { HeldBudget } from '../extproc/held-budget.ts'
import { ExtProcService } from '../extproc/service.ts'
import { listenH2 } from '../grpc/h2/h2-transport.ts'
import { HealthService } from '../grpc/health-service.ts'
import { listenHttp2 } from '../grpc/http2-transport.ts'
import type { StreamService, TransportServer } from '../grpc/transport.ts'
import { tellUserFaults } from '../inference/scheduling/plugins/user-faults.ts'
import { DecisionRecords } from '../pipeline/decision-records.ts'
import { LinkedPlan } from '../pipeline/linked-plan.ts'
import { Outcomes } from '../pipeline/outcomes.ts'
import { ENTRY_METADATA } from '../pipeline/plan.ts'
import { ErrorValve } from './error-valve.ts'
import { MeasuredStreams } from './measured-streams.ts'
import { startMeasuring } from './measuring.ts'
import type { FromWorker, ListenAddress, ToWorker, WorkerStart } from './messages.ts'
import { Figure, ThreadFigures } from './thread-figures.ts'

const BEAT_MS = 100
/** Of the time for open streams, that in which requests may still wait before a pool. */
const WAITING_SHARE = 0.75
/** Beats per measurement of the utilisation. */
const UTILISATION_BEATS = 10

/** With whether the service may keep the bytes that it is lent. */
const TRANSPORTS = {
  own: { listen: listenH2, retainsParts: false },
  node: { listen: listenHttp2, retainsParts: true },
} as const

export class DataPath {
  readonly #start: WorkerStart
  readonly #tell: (message: FromWorker) => void
  readonly #figures: ThreadFigures
  readonly #plan: LinkedPlan
  readonly #service: ExtProcService
  /** The same, maybe with its streams timed. */
  readonly #streams: StreamService
  readonly #health = new HealthService()
  readonly #streamsBefore: number
  #shared: TransportServer | undefined
  #own: TransportServer | undefined
  #timer: NodeJS.Timeout | undefined
  /** Connections are broken by whoever likes to. */
  readonly #valve = new ErrorValve(20, 10_000)
  #beats = 0
  #utilisation = performance.eventLoopUtilization()

  /** Runs the plans that it is given. `tell` sends to the main thread. */
  constructor(start: WorkerStart, tell: (message: FromWorker) => void) {
    const { thread, memory, options } = start
    this.#start = start
    this.#tell = tell
    this.#figures = new ThreadFigures(memory.figures)
    this.#streamsBefore = this.#figures.get(thread, Figure.STREAMS_TOTAL)
    const outcomes = new Outcomes(memory.outcomes)
    const { records, measuring = {} } = options
    const { observers, streamOver } = startMeasuring(measuring, memory.series, spans => tell({ type: 'spans', spans }))
    this.#plan = new LinkedPlan({
      ...(records === undefined
        ? {}
        : { records: new DecisionRecords(records, Math.random, line => tell({ type: 'trace', line })) }),
      ...(measuring.requests?.tokens === true ? { usage: observers?.metrics } : {}),
      observers,
      outcomes,
      nowMs: Date.now,
      random: Math.random,
      pool: { releaseBy: options.releaseBy, thread, seed: (Math.random() * 0x7fffffff) | 0 },
    })
    this.#service = new ExtProcService({
      decider: headers => {
        const id = headers[ENTRY_METADATA]
        const decider = this.#plan.entry(Array.isArray(id) ? id[0] : id, headers)
        // A data plane with a configuration older than all that we still know, or one that is not ours and no --pool.
        if (decider === undefined) outcomes.refused('unknown_entry')
        return decider
      },
      budget: new HeldBudget(options.maxHeldBytes, memory.held, thread),
      modeOverride: options.modeOverride,
      ...(options.maxMessageBytes === undefined ? {} : { maxMessageBytes: options.maxMessageBytes }),
      retainsParts: TRANSPORTS[options.transport].retainsParts,
      onError: (error, requestId) => this.#report(error, 'ext_proc: internal error', { requestId }),
    })
    this.#streams = streamOver === undefined ? this.#service : new MeasuredStreams(this.#service, streamOver)
    tellUserFaults((text, error) => this.#report(error, text, {}))
    for (const share of start.plans) this.#plan.update(share)
    this.#health.setReady(start.ready)
  }

  /** Rejects when an address or a certificate cannot be used. */
  async listen(): Promise<void> {
    const { shared, own } = this.#start
    if (shared !== undefined) this.#shared = await this.#listen(shared)
    if (own !== undefined) this.#own = await this.#listen(own)
    this.#timer = setInterval(() => this.#beat(), BEAT_MS)
    const listening = (server: TransportServer | undefined) => server && { address: server.address, port: server.port }
    this.#tell({ type: 'listening', shared: listening(this.#shared), own: listening(this.#own) })
  }

  take(message: ToWorker): void {
    switch (message.type) {
      case 'run':
        this.#plan.update(message.share)
        this.#tell({ type: 'adopted', version: message.version })
        break
      case 'models':
        this.#plan.adoptModels(message.pool, message.models)
        break
      case 'ready':
        this.#health.setReady(message.ready)
        break
      case 'publish':
        this.#publish()
        this.#tell({ type: 'published' })
        break
      case 'shed':
        this.#tell({ type: 'shed', done: this.#shed() })
        break
      case 'drain':
        void this.#drain(message.graceMs)
        break
    }
  }

  /** Over TLS node's HTTP/2 can retire no connection without losing requests (http2-transport.ts). */
  #shed(): boolean {
    const { tls, transport } = this.#start.options
    if (tls !== undefined && transport === 'node') return false
    return this.#shared?.shed() ?? false
  }

  #listen(listen: ListenAddress): Promise<TransportServer> {
    const { tls, maxHeldBytes, maxConnectionAgeMs, transport, trust } = this.#start.options
    const { maxConcurrentStreams, maxConnections } = this.#start.options
    return TRANSPORTS[transport].listen({
      services: [this.#streams, ...this.#health.services],
      listen,
      trust,
      // A held body of the largest cap is echoed at once; the budget of held bytes bounds them all.
      maxStreamPendingBytes: 320 * 1024 * 1024,
      maxConnectionPendingBytes: Math.max(1024 * 1024 * 1024, 2 * maxHeldBytes),
      ...(tls === undefined ? {} : { tls }),
      ...(maxConnectionAgeMs === undefined ? {} : { maxConnectionAgeMs }),
      ...(maxConcurrentStreams === undefined ? {} : { maxConcurrentStreams }),
      ...(maxConnections === undefined ? {} : { maxConnections }),
      onError: (error, source, detail) => this.#transportError(error, source, detail),
    })
  }

  async #drain(graceMs: number): Promise<void> {
    // What waits may still be served, but must be told in time when it is not.
    const refuse = setTimeout(() => this.#plan.refuseWaiting(), graceMs * WAITING_SHARE)
    await Promise.all([this.#shared?.drain(graceMs), this.#own?.drain(graceMs)])
    clearTimeout(refuse)
    this.#service.close()
    clearInterval(this.#timer)
    this.#publish()
    this.#tell({ type: 'drained' })
  }

  #beat(): void {
    this.#beats++
    if (this.#beats % UTILISATION_BEATS === 0) {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, this.#utilisation)
      this.#utilisation = now
      this.#set(Figure.UTILISATION, utilization)
      this.#set(Figure.HEAP_BYTES, getHeapStatistics().used_heap_size)
    }
    this.#set(Figure.BEAT, this.#beats)
    this.#publish()
  }

  #publish(): void {
    const shared = this.#shared?.connections ?? 0
    this.#set(Figure.STREAMS_TOTAL, this.#streamsBefore + this.#service.streams)
    this.#set(Figure.OPEN_STREAMS, (this.#shared?.streams ?? 0) + (this.#own?.streams ?? 0))
    this.#set(Figure.OPEN_EXCHANGES, this.#service.openExchanges)
    this.#set(Figure.SHARED_CONNECTIONS, shared)
    this.#set(Figure.CONNECTIONS, shared + (this.#own?.connections ?? 0))
  }

  #set(figure: Figure, value: number): void {
    this.#figures.set(this.#start.thread, figure, value)
  }

  #transportError(error: unknown, source: string, detail: string): void {
    const kept = this.#valve.pass(performance.now())
    if (kept === undefined) return
    const more = kept === 0 ? {} : { kept }
    this.#report(error, 'ext_proc transport', { source, detail, ...more })
  }

  /** Errors lose their class on the way to the main thread, so their text goes. */
  #report(error: unknown, message: string, fields: Readonly<Record<string, unknown>>): void {
    const { thread } = this.#start
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    const code = (error as NodeJS.ErrnoException | undefined)?.code
    this.#tell({
      type: 'error',
      message,
      fields: { thread, error: text, ...(code === undefined ? {} : { code }), ...fields },
    })
  }
}
