/**
 * The embedded data plane: a small HTTP/1.1 and HTTP/2 reverse proxy that runs the same compiled configuration as Envoy and asks
 * Signalbox by ext_proc as a strict client. It serves where no Envoy can be had, and is the fast test double.
 */
import type { EnvoyResources } from '../config/envoy-resources.ts'
import { AdminServer } from './admin-server.ts'
import type { LogRecord } from './access-log.ts'
import { AccessLogService } from './access-log-service.ts'
import { Cluster } from './cluster.ts'
import { type ChainSettings, type Configuration, readConfiguration } from './configuration.ts'
import { Exchange, type ExchangeContext } from './exchange.ts'
import { identityOf, Listener } from './listener.ts'
import { LogFiles } from './log-files.ts'
import { Stats } from './stats.ts'

/** A logger as pino is one. */
export interface EmbeddedLog {
  info(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface EmbeddedOptions {
  readonly resources: EnvoyResources
  readonly log: EmbeddedLog
  /** `/ready`, `/stats`, `/config_dump` on loopback; 0 = any free port, absent = none. */
  readonly adminPort?: number
  /** Envoy's runtime guard `ext_proc_graceful_grpc_close`: half-close and wait instead of resetting. Default false. */
  readonly gracefulGrpcClose?: boolean
  /** Takes access log lines instead of the files and streams that the configuration names. */
  readonly accessLog?: (line: string) => void
  /** Told of each request that is over, at once: for a process that needs no access log service to hear of it. */
  readonly onRequestEnd?: (end: RequestEnd) => void
  /** What the access log service is told about this node. */
  readonly node?: { readonly id: string; readonly cluster: string }
}

/** What the dynamic metadata `signalbox` of a request says, and what became of it. */
interface RequestEnd {
  readonly endpoint?: string
  readonly pool?: string
  readonly upstream?: string
  readonly durationMs: number
}

interface EmbeddedListener {
  readonly name: string
  readonly address: string
  readonly port: number
}

export interface EmbeddedDataPlane {
  /**
   * Swaps the configuration without dropping open requests; those finish with the endpoints they have. Rejects with
   * `EmbeddedConfigurationError` (nothing is changed) or with the system's error of a listener that can't be opened (the others are).
   */
  update(resources: EnvoyResources): Promise<void>
  readonly listeners: readonly EmbeddedListener[]
  /** Undefined without `adminPort`. */
  readonly adminPort: number | undefined
  /** Stops listening; open requests get up to `graceMs`. */
  close(graceMs: number): Promise<void>
  /** Counters and gauges under Envoy's names. */
  stats(): Record<string, number>
}

/** Rejects as `update` does. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedDataPlane> {
  const plane = new DataPlane(options)
  try {
    await plane.update(options.resources)
    if (options.adminPort !== undefined) await plane.openAdmin(options.adminPort)
  } catch (error) {
    await plane.close(0)
    throw error
  }
  return plane
}

class DataPlane implements EmbeddedDataPlane {
  readonly #options: EmbeddedOptions
  readonly #stats = new Stats()
  readonly #clusters = new Map<string, Cluster>()
  readonly #listeners = new Map<string, Listener>()
  readonly #services = new Map<string, AccessLogService>()
  readonly #retired = new Set<Cluster>()
  readonly #files: LogFiles
  readonly #context: ExchangeContext
  #resources: EnvoyResources
  #configuration: Configuration = { listeners: [], routeTables: new Map(), clusters: [] }
  #admin: AdminServer | undefined
  /** Updates one after the other. */
  #turn: Promise<void> = Promise.resolve()

  constructor(options: EmbeddedOptions) {
    this.#options = options
    this.#resources = options.resources
    this.#files = new LogFiles(options.log)
    this.#context = {
      stats: this.#stats,
      clusters: this.#clusters,
      gracefulClose: options.gracefulGrpcClose === true,
      log: (record, chain) => this.#log(record, chain),
      report: fields => options.log.error(fields, 'the ext_proc server gave an answer that does not fit'),
    }
  }

  get listeners(): readonly EmbeddedListener[] {
    return [...this.#listeners].map(([name, { bound }]) => ({ name, address: bound.host, port: bound.port }))
  }

  get adminPort(): number | undefined {
    return this.#admin?.port
  }

  async openAdmin(port: number): Promise<void> {
    this.#admin = new AdminServer({ stats: () => this.stats(), resources: () => this.#resources })
    await this.#admin.listen(port)
  }

  async update(resources: EnvoyResources): Promise<void> {
    const before = this.#turn
    const done = Promise.withResolvers<void>()
    this.#turn = done.promise
    await before
    try {
      await this.#apply(resources)
    } finally {
      done.resolve()
    }
  }

  async #apply(resources: EnvoyResources): Promise<void> {
    let configuration: Configuration
    try {
      configuration = readConfiguration(resources)
    } catch (error) {
      this.#stats.add('embedded.update_rejected')
      throw error
    }
    this.#resources = resources
    this.#updateClusters(configuration)
    this.#configuration = configuration
    this.#stats.add('embedded.update_success')
    await this.#updateListeners(configuration)
  }

  #updateClusters(configuration: Configuration): void {
    const names = new Set(configuration.clusters.map(cluster => cluster.name))
    for (const [name, cluster] of this.#clusters) if (!names.has(name)) this.#retire(name, cluster)
    for (const settings of configuration.clusters) {
      const before = this.#clusters.get(settings.name)
      if (before?.settings.transportId === settings.transportId) before.update(settings)
      else {
        if (before !== undefined) this.#retire(settings.name, before)
        this.#clusters.set(settings.name, new Cluster(settings))
      }
    }
  }

  #retire(name: string, cluster: Cluster): void {
    this.#clusters.delete(name)
    this.#retired.add(cluster)
    cluster.retire()
  }

  async #updateListeners(configuration: Configuration): Promise<void> {
    const wanted = new Map(configuration.listeners.map(settings => [settings.name, settings]))
    for (const [name, listener] of this.#listeners) {
      const settings = wanted.get(name)
      if (settings !== undefined && identityOf(settings) === listener.identity) listener.update(settings)
      else {
        this.#listeners.delete(name)
        // Its open requests have the time of a drain; the port is free at once.
        void listener.close(DRAIN_MS)
      }
    }
    const failures: unknown[] = []
    for (const settings of configuration.listeners) {
      if (this.#listeners.has(settings.name)) continue
      const listener = new Listener(
        settings,
        chain => (downstream, headers, end) =>
          new Exchange(downstream, headers, end, chain, this.#configuration, this.#context),
      )
      try {
        await listener.listen()
        this.#listeners.set(settings.name, listener)
        this.#options.log.info({ listener: settings.name, ...listener.bound }, 'embedded data plane listens')
      } catch (error) {
        this.#options.log.error(
          { listener: settings.name, ...settings.address, error },
          'embedded data plane cannot listen',
        )
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  #log(record: LogRecord, chain: ChainSettings): void {
    this.#options.onRequestEnd?.(endOf(record))
    for (const { target, line } of chain.accessLogs) {
      if (this.#options.accessLog === undefined) this.#files.write(target, line(record))
      else this.#options.accessLog(line(record))
    }
    for (const log of chain.grpcLogs) {
      const key = `${log.cluster} ${log.logName}`
      let service = this.#services.get(key)
      if (service === undefined) {
        service = new AccessLogService(log, this.#options.node ?? { id: 'embedded', cluster: 'embedded' }, () =>
          this.#clusters.get(log.cluster)?.balance(),
        )
        this.#services.set(key, service)
      }
      service.add(record)
    }
  }

  stats(): Record<string, number> {
    return this.#stats.snapshot()
  }

  async close(graceMs: number): Promise<void> {
    const listeners = [...this.#listeners.values()]
    this.#listeners.clear()
    await Promise.all(listeners.map(listener => listener.close(graceMs)))
    for (const service of this.#services.values()) service.close()
    await this.#admin?.close()
    await this.#files.close()
    for (const service of this.#services.values()) service.destroy()
    for (const cluster of [...this.#clusters.values(), ...this.#retired]) cluster.destroy()
  }
}

function endOf({ metadata, upstreamHost, durationMs }: LogRecord): RequestEnd {
  const { endpoint, pool } = metadata.get('signalbox') ?? {}
  return {
    durationMs,
    ...(typeof endpoint === 'string' ? { endpoint } : {}),
    ...(typeof pool === 'string' ? { pool } : {}),
    ...(upstreamHost === undefined ? {} : { upstream: upstreamHost }),
  }
}

/** How long requests of a removed listener may go on. */
const DRAIN_MS = 600_000
