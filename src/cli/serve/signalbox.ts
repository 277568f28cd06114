import { readFile } from 'node:fs/promises'
import type { AdminServer } from '../../admin/admin-server.ts'
import type { EnvoyResources } from '../../config/envoy-resources.ts'
import type { ObjectSet } from '../../config/object-set.ts'
import { candidateName, LeaderElection } from '../../kubernetes/leader-election.ts'
import { LineFile } from '../../telemetry/line-file.ts'
import { Peers } from '../../peers/peers.ts'
import { tellUserFaults } from '../../inference/scheduling/plugins/user-faults.ts'
import type { Log } from '../../telemetry/log.ts'
import { Metrics } from '../../telemetry/metrics.ts'
import { Threads } from '../../threads/threads.ts'
import type { AdsServer } from '../../xds/ads-server.ts'
import { ResourceRegistry } from '../../xds/registry.ts'
import { SnapshotCache } from '../../xds/snapshot-cache.ts'
import { loadPlugins } from '../load-plugins.ts'
import { joinHostPort } from '../options.ts'
import { startAdminPort } from './admin-port.ts'
import { compileOptions } from './compile-options.ts'
import { Configuration } from './configuration.ts'
import { EmbeddedUpdates } from './embedded-updates.ts'
import { Handover } from './handover.ts'
import { HealthListener } from './health-listener.ts'
import { withLiveThreads } from './live-addresses.ts'
import { missingPools } from './missing-pools.ts'
import { isFleet } from './is-fleet.ts'
import type { HostPort, ServeOptions } from './options.ts'
import { withThread } from './own-addresses.ts'
import { KvFeeds } from './kv-feeds.ts'
import { Readiness } from './readiness.ts'
import { noteRequestEnd } from './request-ends.ts'
import { Scrapers } from './scrapers.ts'
import { Sources } from './sources.ts'
import { StartError, startsWith } from './start-error.ts'
import { warnOfAddresses, warnOfStrangers } from './start-warnings.ts'
import type { TraceExporter } from './trace-exporter.ts'
import { unlessAborted } from './unless-aborted.ts'
import { upstreamTls } from './upstream-tls.ts'
import { workerOptions } from './worker-options.ts'
import { xdsServer } from './xds-server.ts'
import { readVersion } from '../version.ts'

const NEVER = new AbortController().signal

/** A running Signalbox: every part of it, wired. */
export class Signalbox {
  readonly #options: ServeOptions
  readonly #log: Log
  readonly #threads: Threads
  readonly #scrapers: Scrapers
  readonly #kvFeeds: KvFeeds
  readonly #registry = new ResourceRegistry()
  readonly #cache = new SnapshotCache(this.#registry)
  readonly #metrics = new Metrics()
  #ads: AdsServer | undefined
  #admin: AdminServer | undefined
  #sources: Sources | undefined
  #configuration: Configuration | undefined
  #health: HealthListener | undefined
  readonly #trace: LineFile | undefined
  #traces: TraceExporter | undefined
  readonly #embedded: EmbeddedUpdates
  readonly #handover: Handover
  /** What data planes were sent last, as if all threads served. */
  #sent: EnvoyResources | undefined
  /** Which threads served then. */
  #serving: readonly boolean[] = []
  /** Resolves with the first configuration that data planes get. */
  readonly #firstSent = Promise.withResolvers<void>()
  #xdsPort = 0
  #peers: Peers | undefined
  readonly #readiness: Readiness
  /** Undefined: all replicas serve. */
  #election: LeaderElection | undefined

  constructor(options: ServeOptions, log: Log) {
    this.#options = options
    this.#log = log
    this.#readiness = new Readiness(log, ready => {
      this.#threads.setReady(ready)
      this.#health?.setReady(ready)
    })
    this.#scrapers = new Scrapers(log)
    this.#kvFeeds = new KvFeeds(log)
    // With xDS it has the access log service, as every Envoy.
    this.#embedded = new EmbeddedUpdates(
      log,
      options.xds === undefined ? end => noteRequestEnd(this.#threads, end) : undefined,
    )
    this.#threads = new Threads({
      count: options.threads,
      listen: options.extProc,
      ownAddresses: isFleet(options),
      worker: workerOptions(options),
      peers: options.peers !== undefined,
      log,
      onTrace: line => this.#trace?.write(line),
      onSpans: spans => this.#traces?.take(spans),
      onLive: () => {
        if (this.#sent !== undefined && !this.#readiness.draining) this.#send(this.#sent)
      },
    })
    const { trace } = options.records
    if (trace !== undefined)
      this.#trace = new LineFile({
        path: trace.file,
        maxBytes: trace.maxBytes,
        files: 3,
        onError: error => log.error({ error: error.message }, 'the trace of decisions cannot be written'),
      })
    this.#handover = new Handover({
      alone: options.xds === undefined && !options.embedded,
      run: (plan, inForce) => {
        this.#threads.run(plan, inForce)
        this.#scrapers.follow(this.#threads.keeper.pools.values())
        this.#kvFeeds.follow(this.#threads.keeper.pools.values())
      },
      send: envoy => {
        this.#send(envoy)
        this.#firstSent.resolve()
      },
      settled: () =>
        this.#embedded.settled &&
        (this.#ads?.status() ?? []).every(client => client.types.every(({ synced }) => synced)),
    })
  }

  get extProcAddress(): string {
    return this.#threads.address
  }

  get threads(): Threads {
    return this.#threads
  }

  get xdsPort(): number {
    return this.#xdsPort
  }

  get healthAddress(): string {
    return this.#health?.address ?? ''
  }

  /** What other replicas are told and tell; undefined: there are none. */
  get peers(): Peers | undefined {
    return this.#peers
  }

  get adminAddress(): string {
    return this.#admin?.address ?? ''
  }

  /**
   * Starts everything. Rejects when an address cannot be had, when the first configuration is bad, or, at the next place where it waits
   * for long, with the reason of `signal`; `stop` is due then.
   */
  async start(signal: AbortSignal = NEVER): Promise<void> {
    const options = this.#options
    const { descriptors, xds, admin } = options
    tellUserFaults((text, error) => this.#log.error({ err: error }, text))
    await loadPlugins(options.plugins)
    if (descriptors !== undefined)
      await startsWith('--descriptors', async () => this.#registry.loadDescriptors(await readFile(descriptors)))
    await this.#startTraces()
    const verified = typeof options.tls === 'object'
    const tls = options.tls === 'off' ? undefined : await upstreamTls(options, this.#log, verified)
    const logsTls = options.xdsTls === undefined ? undefined : await upstreamTls(options, this.#log, true)
    await startsWith(
      extProcOption(options),
      () => unlessAborted(signal, this.#threads.start()),
      why => withThread(why, options),
    )
    if (xds !== undefined)
      await startsWith(options.xdsTls === undefined ? '--xds' : '--xds with --xds-tls', () => this.#startXds(xds))
    await this.#startPeers()
    await this.#startHealth()
    warnOfAddresses(options, this.#log)
    warnOfStrangers(options, this.#log)
    this.#configuration = new Configuration({
      compile: compileOptions(options, { threads: this.#threads, xdsPort: this.#xdsPort, tls, logsTls }),
      log: this.#log,
      mayWait: options.kubernetes !== undefined,
      apply: compiled => {
        this.#cache.check(compiled.envoy)
        this.#handover.take(compiled)
        const missing = missingPools(compiled.plan, options.picker)
        this.#readiness.lack(missing)
        // Nobody leads who could not serve.
        if (missing === undefined) this.#election?.start()
      },
    })
    const configuration = this.#configuration
    const take = (set: ObjectSet) => configuration.take(set)
    // A picker's own configuration holds with any pool or with none, so that it can be refused at once.
    this.#sources =
      options.picker === undefined
        ? new Sources(options, this.#log, take)
        : new Sources(options, this.#log, take, set => configuration.errorsOf(set))
    this.#elect()
    signal.throwIfAborted()
    await unlessAborted(signal, this.#sources.start())
    // An API server may be out of reach now, and a pool may be made later: until then we are alive, but not ready.
    if (options.kubernetes === undefined) {
      this.#configuration.throwUnlessApplied()
      await unlessAborted(signal, this.#firstSent.promise)
      await unlessAborted(signal, this.#embedded.done())
      const { failure } = this.#embedded
      if (failure !== undefined) throw new StartError(`--embedded: ${String(failure)}`, { cause: failure })
    }
    if (admin !== undefined) await startsWith('--admin', () => this.#startAdmin(admin))
    this.#log.info(
      {
        extProc: this.extProcAddress,
        threads: options.threads,
        ...(options.xds === undefined ? {} : { xds: joinHostPort(options.xds.host, this.#xdsPort) }),
        admin: this.adminAddress,
      },
      'Signalbox serves',
    )
  }

  /** Not ready; after the time that gateways may take to see that no new streams, open ones finish within the drain time; then all is closed. */
  async stop(): Promise<void> {
    this.#readiness.drain()
    // The next leader need not wait until everything has left this one.
    await Promise.all([this.#election?.stop(), this.#threads.unused(this.#options.picker?.lameDuckMs ?? 0)])
    await this.#sources?.stop()
    this.#handover.close()
    await this.#embedded.close(this.#options.drainMs)
    await this.#threads.drain(this.#options.drainMs)
    this.#scrapers.stop()
    this.#kvFeeds.stop()
    this.#peers?.stop()
    await this.#ads?.close()
    await this.#admin?.close()
    await this.#health?.close()
    await this.#trace?.close()
    await this.#traces?.stop()
  }

  /** Has one of the replicas lead, where that is asked for. */
  #elect(): void {
    const election = this.#options.picker?.election
    const client = this.#sources?.client
    if (election === undefined || client === undefined) return
    const { lease, podName, timing } = election
    const onChange = (leads: boolean) => this.#readiness.follow(!leads)
    onChange(false)
    const identity = candidateName(podName)
    this.#election = new LeaderElection({ client, lease, identity, timing, log: this.#log, onChange })
  }

  async #startHealth(): Promise<void> {
    const listen = this.#options.picker?.health
    if (listen === undefined) return
    const health = new HealthListener()
    await startsWith('--grpc-health-port', () => health.listen(listen))
    this.#health = health
  }

  /** Gives resources to data planes, without threads that don't serve now. */
  #send(resources: EnvoyResources): void {
    const serving = this.#threads.threads.map(thread => this.#threads.isLive(thread))
    if (this.#sent === resources && this.#serving.every((before, i) => before === serving[i])) return
    this.#sent = resources
    this.#serving = serving
    const envoy = withLiveThreads(resources, serving)
    if (this.#options.xds !== undefined) this.#cache.set(envoy)
    if (this.#options.embedded) this.#embedded.take(envoy)
  }

  async #startXds(listen: HostPort): Promise<void> {
    const parts = { cache: this.#cache, threads: this.#threads, log: this.#log }
    this.#ads = xdsServer(this.#options, listen, parts)
    this.#xdsPort = await this.#ads.listen()
  }

  async #startTraces(): Promise<void> {
    const { tracing } = this.#options.measuring
    if (tracing === undefined) return
    // OpenTelemetry's libraries are not for those who don't trace.
    const { TraceExporter: Exporter } = await import('./trace-exporter.ts')
    const version = await readVersion()
    this.#traces = await startsWith('--tracing', () => Exporter.start(tracing, version, this.#log))
    this.#log.info({ exporter: tracing.exporter, ...tracing.sampler }, 'requests are traced')
  }

  async #startPeers(): Promise<void> {
    const { peers } = this.#options
    if (peers === undefined) return
    this.#peers = new Peers({ ...peers, pools: () => this.#threads.keeper.pools, log: this.#log })
    await startsWith('--peer-listen or --peer-tls', () => this.#peers!.start())
    if (peers.tls === undefined)
      this.#log.warn('replicas tell each other in plaintext, and believe whoever reaches --peer-listen: see --peer-tls')
  }

  async #startAdmin(listen: HostPort): Promise<void> {
    this.#admin = await startAdminPort(listen, {
      options: this.#options,
      metrics: this.#metrics,
      threads: this.#threads,
      scrapers: this.#scrapers,
      kvFeeds: this.#kvFeeds,
      peers: this.#peers,
      election: this.#election,
      sources: this.#sources!,
      configuration: this.#configuration!,
      readiness: this.#readiness,
      clients: () => this.#ads?.status() ?? [],
      log: this.#log,
    })
  }
}

/** What the command line calls the ext_proc service and its certificates. */
function extProcOption({ picker, tls }: ServeOptions): string {
  if (picker !== undefined) return typeof tls === 'object' ? '--grpc-port or --cert-path' : '--grpc-port'
  return tls === 'off' ? '--ext-proc' : '--ext-proc with --tls'
}
