import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { type AdminServer, startAdminServer } from '../../admin/admin-server.ts'
import type { UpstreamTls } from '../../compile/envoy/clusters.ts'
import type { EnvoyResources } from '../../config/envoy-resources.ts'
import { FileSource } from '../../config/file-source.ts'
import { type EmbeddedDataPlane, startEmbedded } from '../../embedded/embedded.ts'
import { ExtProcService } from '../../extproc/service.ts'
import { HealthService } from '../../grpc/health-service.ts'
import { listenHttp2 } from '../../grpc/http2-transport.ts'
import type { TlsOptions } from '../../grpc/tls.ts'
import type { TransportServer } from '../../grpc/transport.ts'
import type { ReleaseBy } from '../../inference/endpoint-table.ts'
import { LinkedPlan } from '../../pipeline/linked-plan.ts'
import { Outcomes } from '../../pipeline/outcomes.ts'
import { ENTRY_METADATA } from '../../pipeline/plan.ts'
import type { Log } from '../../telemetry/log.ts'
import { Metrics } from '../../telemetry/metrics.ts'
import { AdsServer } from '../../xds/ads-server.ts'
import { ResourceRegistry } from '../../xds/registry.ts'
import { SnapshotCache } from '../../xds/snapshot-cache.ts'
import { joinHostPort } from '../options.ts'
import { Configuration } from './configuration.ts'
import { describeMetrics } from './describe-metrics.ts'
import { Handover } from './handover.ts'
import { isWildcard, reachableAt, type ServeOptions } from './options.ts'
import { Scrapers } from './scrapers.ts'
import { StartError, startsWith } from './start-error.ts'

/** A running Signalbox: every part of it, wired. */
export class Signalbox {
  readonly #options: ServeOptions
  readonly #log: Log
  readonly #outcomes = new Outcomes()
  readonly #plan: LinkedPlan
  readonly #scrapers: Scrapers
  readonly #health = new HealthService()
  readonly #registry = new ResourceRegistry()
  readonly #cache = new SnapshotCache(this.#registry)
  readonly #metrics = new Metrics()
  #extProc: TransportServer | undefined
  #service: ExtProcService | undefined
  #ads: AdsServer | undefined
  #admin: AdminServer | undefined
  #files: FileSource | undefined
  #configuration: Configuration | undefined
  #embedded: EmbeddedDataPlane | undefined
  /** Updates of the embedded data plane, one after the other. */
  #embeddedUpdates: Promise<void> = Promise.resolve()
  #embeddedUpdatesPending = 0
  #embeddedFailure: unknown
  readonly #handover: Handover
  #xdsPort = 0
  #draining = false

  constructor(options: ServeOptions, log: Log) {
    this.#options = options
    this.#log = log
    this.#scrapers = new Scrapers(log)
    this.#plan = new LinkedPlan({
      outcomes: this.#outcomes,
      nowMs: Date.now,
      random: Math.random,
      pool: { releaseBy: releaseMode(options), seed: (Math.random() * 0x7fffffff) | 0 },
    })
    this.#handover = new Handover({
      run: plan => {
        this.#plan.update(plan)
        this.#scrapers.follow(this.#plan.pools.values())
      },
      send: envoy => {
        if (options.xds !== undefined) this.#cache.set(envoy)
        if (options.embedded) this.#updateEmbedded(envoy)
      },
      settled: () =>
        this.#embeddedUpdatesPending === 0 &&
        (this.#ads?.status() ?? []).every(client => client.types.every(({ synced }) => synced)),
    })
  }

  get extProcAddress(): string {
    return this.#extProc?.address ?? ''
  }

  get xdsPort(): number {
    return this.#xdsPort
  }

  get adminAddress(): string {
    return this.#admin?.address ?? ''
  }

  /** Starts everything. Rejects when an address cannot be had, or when the first configuration is bad. */
  async start(): Promise<void> {
    const options = this.#options
    const { descriptors, xds, admin } = options
    if (descriptors !== undefined)
      await startsWith('--descriptors', async () => this.#registry.loadDescriptors(await readFile(descriptors)))
    const tls = await this.#upstreamTls(options.tls !== 'off', typeof options.tls === 'object')
    const logsTls = await this.#upstreamTls(options.xdsTls !== undefined)
    await startsWith(options.tls === 'off' ? '--ext-proc' : '--ext-proc with --tls', () => this.#startExtProc())
    if (xds !== undefined)
      await startsWith(options.xdsTls === undefined ? '--xds' : '--xds with --xds-tls', () => this.#startXds(xds))
    this.#warnOfAddresses()
    this.#configuration = new Configuration({
      compile: {
        extProc: { ...this.#extProcUpstream(), ...(tls === undefined ? {} : { tls }) },
        ...(options.xds !== undefined && options.accessLogService
          ? {
              accessLogService: {
                addresses: [reachableAt(options, options.xds.host, this.#xdsPort)],
                ...(logsTls === undefined ? {} : { tls: logsTls }),
              },
            }
          : {}),
        ...(options.pool === undefined ? {} : { defaultPool: options.pool }),
      },
      log: this.#log,
      apply: compiled => {
        this.#cache.check(compiled.envoy)
        this.#handover.take(compiled)
        this.#health.setReady(!this.#draining)
      },
    })
    this.#files = new FileSource(options.config, set => this.#configuration!.take(set))
    await this.#files.start()
    this.#configuration.throwUnlessApplied()
    await this.#embeddedUpdates
    if (options.embedded && this.#embedded === undefined)
      throw new StartError(`--embedded: ${String(this.#embeddedFailure)}`, { cause: this.#embeddedFailure })
    if (admin !== undefined) await startsWith('--admin', () => this.#startAdmin(admin))
    this.#log.info(
      {
        extProc: this.extProcAddress,
        ...(options.xds === undefined ? {} : { xds: joinHostPort(options.xds.host, this.#xdsPort) }),
        admin: this.adminAddress,
      },
      'Signalbox serves',
    )
  }

  /** Not ready, no new streams, open ones finish within the drain time; then everything is closed. */
  async stop(): Promise<void> {
    this.#draining = true
    this.#health.setReady(false)
    await this.#files?.stop()
    this.#handover.close()
    await this.#embeddedUpdates
    await this.#embedded?.close(this.#options.drainMs)
    await this.#extProc?.drain(this.#options.drainMs)
    this.#service?.close()
    this.#scrapers.stop()
    await this.#ads?.close()
    await this.#admin?.close()
  }

  #updateEmbedded(resources: EnvoyResources): void {
    const update = async () => {
      if (this.#embedded === undefined) {
        this.#embedded = await startEmbedded({
          resources,
          log: this.#log,
          node: { id: 'embedded', cluster: 'signalbox' },
        })
      } else {
        await this.#embedded.update(resources)
      }
    }
    this.#embeddedUpdatesPending++
    this.#embeddedUpdates = this.#embeddedUpdates.then(update).catch((error: unknown) => {
      this.#embeddedFailure = error
      this.#log.error({ err: error }, 'embedded data plane')
    })
    void this.#embeddedUpdates.then(() => this.#embeddedUpdatesPending--)
  }

  async #startExtProc(): Promise<void> {
    const { extProc, maxHeldBytes, modeOverride, maxConnectionAgeMs } = this.#options
    const onError = (error: unknown, requestId: string | undefined) =>
      this.#log.error({ err: error, requestId }, 'ext_proc: internal error')
    this.#service = new ExtProcService({
      decider: headers => {
        const id = headers[ENTRY_METADATA]
        const decider = this.#plan.entry(Array.isArray(id) ? id[0] : id)
        // A data plane with a configuration older than all that we still know, or one that is not ours and no --pool.
        if (decider === undefined) this.#outcomes.refused('unknown_entry')
        return decider
      },
      maxHeldBytes,
      modeOverride,
      retainsParts: true,
      onError,
    })
    const tls = this.#tls()
    this.#extProc = await listenHttp2({
      services: [this.#service, ...this.#health.services],
      listen: 'path' in extProc ? extProc : { host: extProc.host, port: extProc.port },
      // A held body of the largest cap is echoed at once; the budget of held bytes bounds them all.
      maxStreamPendingBytes: 320 * 1024 * 1024,
      maxConnectionPendingBytes: Math.max(1024 * 1024 * 1024, 2 * maxHeldBytes),
      ...(tls === undefined ? {} : { tls }),
      ...(maxConnectionAgeMs === undefined ? {} : { maxConnectionAgeMs }),
      onError: (error, source, detail) => this.#log.error({ err: error, source, detail }, 'ext_proc transport'),
    })
  }

  #tls(): TlsOptions | undefined {
    const { tls, clientCaFile } = this.#options
    if (tls === 'off') return undefined
    return {
      certificate: tls === 'self-signed' ? { kind: 'self-signed' } : { kind: 'files', ...tls },
      ...(clientCaFile === undefined ? {} : { clientCaFile }),
    }
  }

  /** How the Envoys of our fleet speak to a service of ours; undefined: plaintext. `verified`: its certificate has an authority. */
  async #upstreamTls(on: boolean, verified = true): Promise<UpstreamTls | undefined> {
    const { tlsCaFile, tlsClient, xds, embedded } = this.#options
    if (!on) return undefined
    if (tlsCaFile === undefined || !verified) {
      if (xds !== undefined || embedded) this.#log.warn('Envoys do not verify our certificate: no --tls-ca')
      return tlsClient === undefined ? {} : { clientCertificate: tlsClient }
    }
    const ca = await startsWith('--tls-ca', async () => {
      const pem = await readFile(tlsCaFile, 'utf8')
      // Throws for what is no certificate: better here than as a refused cluster in every Envoy.
      void new X509Certificate(pem)
      return pem
    })
    return { ca, ...(tlsClient === undefined ? {} : { clientCertificate: tlsClient }) }
  }

  #warnOfAddresses(): void {
    const { xds, extProc, advertise } = this.#options
    if (xds === undefined || advertise !== undefined || 'path' in extProc || !isWildcard(extProc.host)) return
    this.#log.warn(
      'Envoys are told to reach ext_proc at 127.0.0.1: name this host with --advertise if they run elsewhere',
    )
  }

  #extProcUpstream() {
    const { extProc } = this.#options
    return 'path' in extProc
      ? { pipes: [extProc.path] }
      : { addresses: [reachableAt(this.#options, extProc.host, this.#extProc!.port)] }
  }

  async #startXds({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    this.#ads = new AdsServer({
      cache: this.#cache,
      listen: { address: joinHostPort(host, port) },
      ...(this.#options.xdsTls === undefined ? {} : { tls: this.#options.xdsTls }),
      onTlsError: error => this.#log.error({ err: error }, 'xDS: the certificate files cannot be used'),
      onNack: ({ nodeId, typeUrl, message }) =>
        this.#log.error({ node: nodeId, type: typeUrl, message }, 'Envoy refused a configuration'),
      onTooOld: ({ nodeId, userAgent, reason }) =>
        this.#log.error({ node: nodeId, userAgent, reason }, 'an Envoy is too old'),
      onAck: ({ nodeId, typeUrl, version }) =>
        this.#log.debug({ node: nodeId, type: typeUrl, version }, 'Envoy took a configuration'),
      ...(this.#options.accessLogService
        ? {
            onAccessLog: ({ endpoint, pool, upstream }) => {
              if (endpoint === undefined || pool === undefined) return
              this.#plan.pools.get(pool)?.releaseAddress(endpoint)
              if (upstream !== undefined && upstream !== endpoint) this.#outcomes.fellBack++
            },
          }
        : {}),
    })
    this.#xdsPort = await this.#ads.listen()
  }

  async #startAdmin({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    describeMetrics(this.#metrics, {
      outcomes: this.#outcomes,
      pools: this.#plan.pools,
      service: this.#service!,
      transport: this.#extProc!,
      scrapers: this.#scrapers,
    })
    this.#admin = await startAdminServer(host, port, {
      metrics: async () => ({ contentType: this.#metrics.contentType, body: await this.#metrics.page() }),
      notReady: () => (this.#draining ? 'draining' : undefined),
      documents: {
        '/pools': () => Object.fromEntries([...this.#plan.pools].map(([name, pool]) => [name, pool.snapshot()])),
        '/clients': () => this.#ads?.status() ?? [],
        '/configuration': () => this.#configuration!.status(),
      },
    })
  }
}

/**
 * Who tells that a request is over: the access log of our own fleet; without a fleet the response, which we follow then. The embedded
 * data plane without xDS has nowhere to send an access log to.
 */
function releaseMode({ xds, accessLogService, embedded }: ServeOptions): ReleaseBy {
  if (xds === undefined) return embedded ? 'scrape' : 'response'
  return accessLogService ? 'access-log' : 'scrape'
}
