/** One request of a client from its headers to its access log line: filter, router, local replies and clean-up. */
import type { JsonObject } from '@bufbuild/protobuf'
import { type LogRecord, textFormat } from './access-log.ts'
import { attributesOf } from './attributes.ts'
import type { Cluster } from './cluster.ts'
import type { ChainSettings, Configuration } from './configuration.ts'
import type { Downstream, DownstreamEvents } from './downstream.ts'
import type { CallEvents } from './ext-proc-client.ts'
import { ExtProcFilter } from './ext-proc-filter.ts'
import type { FilterHost, FilterOptions, LocalReply } from './filter-host.ts'
import { ExtProcObserver } from './ext-proc-observer.ts'
import { type ExtProcSettings, routeSettings } from './ext-proc-settings.ts'
import type { HeaderEdits } from './header-edits.ts'
import type { HeaderList } from './header-list.ts'
import { Flow, type MessageSink } from './message-sink.ts'
import { prepareRequest } from './request-preparation.ts'
import { openCall, type OpenedCall } from './open-call.ts'
import { mapReply, writeReply } from './local-reply.ts'
import { ResponseWriter, type ResponseWriterHost } from './response-writer.ts'
import { Router, type RouterHost } from './router.ts'
import { type SelectedRoute, selectRoute } from './route-table.ts'
import type { Stats } from './stats.ts'

/** What all exchanges share. */
export interface ExchangeContext extends FilterOptions {
  readonly stats: Stats
  readonly clusters: ReadonlyMap<string, Cluster>
  log(record: LogRecord, chain: ChainSettings): void
  /** An answer of the processor was refused. */
  report(fields: object): void
}

/** What stands between the client and the router. */
interface Filter {
  readonly request: MessageSink
  readonly response: MessageSink
  settle(): void
  destroy(): void
}

export class Exchange implements DownstreamEvents, FilterHost, ResponseWriterHost {
  readonly metadata = new Map<string, JsonObject>()
  readonly stats: Stats
  readonly #downstream: Downstream
  readonly #context: ExchangeContext
  readonly #chain: ChainSettings
  readonly #configuration: Configuration
  readonly #headers: HeaderList
  readonly #filter: Filter
  readonly #router: Router
  readonly #writer: ResponseWriter
  readonly #startedAt = new Date()
  readonly #start = performance.now()
  readonly #random = Math.random()
  #idle: NodeJS.Timeout | undefined
  #route: SelectedRoute | undefined
  #routeKnown = false
  #requestEnded: boolean
  #over = false
  #details = ''
  #flags = ''
  #received = 0
  #responseMs: number | undefined
  readonly #originalPath: string
  #upstream: { cluster: string; host?: string; attempts: number } | undefined

  /** Starts at once. `headers` change on their way. */
  constructor(
    downstream: Downstream,
    headers: HeaderList,
    end: boolean,
    chain: ChainSettings,
    configuration: Configuration,
    context: ExchangeContext,
  ) {
    this.#downstream = downstream
    this.#chain = chain
    this.#configuration = configuration
    this.#context = context
    this.stats = context.stats
    this.#requestEnded = end
    this.#headers = headers
    this.#originalPath = headers.get(':path') ?? ''
    this.stats.add(`http.${chain.statPrefix}.downstream_rq_total`)
    this.stats.add(`http.${chain.statPrefix}.downstream_rq_active`)
    const refused = prepareRequest(headers, chain, downstream.remoteAddress.replace(/:\d+$/, ''))
    const route = this.#selectRoute(headers)
    const limit = route?.entry.bodyBufferLimit ?? chain.bufferLimit
    this.#router = new Router(this.#routerHost(), limit)
    const responseFlow = new Flow(open => this.#router.read(open))
    this.#writer = new ResponseWriter(downstream, this, responseFlow, headers.get(':method') ?? '', chain.bufferLimit)
    this.#filter = this.#makeFilter(route, responseFlow, limit)
    const idle =
      (route?.entry.action.type === 'forward' ? route.entry.action.idleTimeoutMs : undefined) ??
      chain.streamIdleTimeoutMs
    if (idle > 0) this.#idle = setTimeout(() => this.#idleTimeout(), idle)
    if (refused !== undefined) {
      this.localReply(refused)
      return
    }
    this.#filter.request.headers(headers, end)
    this.#filter.settle()
  }

  #makeFilter(route: SelectedRoute | undefined, responseFlow: Flow, limit: number): Filter {
    const settings = this.#chain.extProc === undefined ? undefined : routeSettings(this.#chain.extProc, route)
    if (settings === undefined)
      return { request: this.#router, response: this.#writer, settle: () => undefined, destroy: () => undefined }
    if (settings.observability) return new ExtProcObserver(settings, this, this.#router, this.#writer)
    return new ExtProcFilter(
      settings,
      this,
      this.#context,
      { next: this.#router, flow: this.#downstream.flow, holdLimit: limit },
      { next: this.#writer, flow: responseFlow, holdLimit: this.#chain.bufferLimit },
    )
  }

  #routerHost(): RouterHost {
    const throughFilter = (act: (sink: MessageSink) => void): void => {
      if (this.#over) return
      this.#idle?.refresh()
      act(this.#filter.response)
      this.#filter.settle()
    }
    return {
      metadata: this.metadata,
      requestFlow: this.#downstream.flow,
      protocol: this.#downstream.protocol,
      route: headers => this.#selectRoute(headers),
      cluster: name => this.#context.clusters.get(name),
      response: {
        headers: (headers, end) => {
          this.#responseMs = performance.now() - this.#start
          throughFilter(sink => sink.headers(headers, end))
        },
        data: (bytes, end) => throughFilter(sink => sink.data(bytes, end)),
        trailers: trailers => throughFilter(sink => sink.trailers(trailers)),
      },
      localReply: (status, details, flags, body, headers) => {
        this.#details = details
        this.#flags = flags
        const bytes = typeof body === 'string' ? Buffer.from(body) : body
        const reply = this.#mapped({ status, details, body: bytes, ...(headers === undefined ? {} : { headers }) })
        throughFilter(sink => writeReply(sink, reply))
      },
      resetResponse: details => this.#resetClient(details),
      format: value => this.format(value),
      record: () => this.#record(),
      note: upstream => {
        this.#upstream = upstream
        this.#details = 'via_upstream'
      },
    }
  }

  #selectRoute(headers: HeaderList): SelectedRoute | undefined {
    if (this.#routeKnown) return this.#route
    const table = this.#chain.routes ?? this.#configuration.routeTables.get(this.#chain.routeTable)
    this.#route = table === undefined ? undefined : selectRoute(table, headers, this.#random)
    this.#routeKnown = true
    return this.#route
  }

  // ---- DownstreamEvents

  data(bytes: Uint8Array, end: boolean): void {
    if (this.#over) return
    this.#idle?.refresh()
    this.#received += bytes.length
    this.#requestEnded ||= end
    this.#filter.request.data(bytes, end)
    this.#filter.settle()
  }

  trailers(trailers: HeaderList): void {
    if (this.#over) return
    this.#requestEnded = true
    this.#filter.request.trailers(trailers)
    this.#filter.settle()
  }

  aborted(): void {
    this.#details = 'downstream_remote_disconnect'
    this.#flags = 'DC'
    this.#finish()
  }

  drained(): void {
    this.#idle?.refresh()
    this.#writer.drained()
  }

  // ---- FilterHost

  openCall(settings: ExtProcSettings, events: CallEvents): OpenedCall | string {
    return openCall(this.#context.clusters.get(settings.cluster), settings, events, value => this.format(value))
  }

  attributes(names: readonly string[]): JsonObject {
    return attributesOf(names, this.#record(), this.#route)
  }

  localReply(reply: LocalReply): void {
    if (this.#over) return
    this.#details = reply.details
    if (this.#writer.headersSent !== undefined) {
      this.#resetClient(reply.details)
      return
    }
    this.#router.destroy()
    writeReply(this.#writer, this.#mapped(reply))
  }

  #mapped(reply: LocalReply): LocalReply {
    const { localReplies } = this.#chain
    return localReplies.length === 0
      ? reply
      : mapReply(localReplies, reply, { ...this.#record(), status: reply.status })
  }

  takeOver(): MessageSink {
    this.#details = 'ext_proc_local_response'
    this.#router.destroy()
    return this.#writer
  }

  report(reason: string): void {
    this.#context.report({ requestId: this.#headers.get('x-request-id'), route: this.#route?.entry.name, reason })
  }

  clearRoute(): void {
    this.#routeKnown = false
  }

  // ---- ResponseWriterHost

  responseEdits(): readonly HeaderEdits[] {
    const { entry, target } = this.#route ?? {}
    return [...(entry?.responseEdits ?? []), ...(target === undefined ? [] : [target.responseEdits])]
  }

  format(value: string): string {
    return textFormat(value)(this.#record())
  }

  addedHeaders(): readonly (readonly [string, string])[] {
    const id = this.#headers.get('x-request-id')
    return this.#chain.returnRequestId && id !== undefined ? [['x-request-id', id]] : []
  }

  responded(): void {
    this.#finish()
  }

  // ---- the end

  #idleTimeout(): void {
    if (this.#writer.headersSent === undefined) {
      this.#flags = 'SI'
      this.localReply({
        status: this.#requestEnded ? 504 : 408,
        details: 'stream_idle_timeout',
        body: Buffer.from('stream timeout'),
      })
    } else this.#resetClient('stream_idle_timeout')
  }

  #resetClient(details: string): void {
    if (this.#over) return
    this.#details = details
    this.#downstream.reset()
    this.#finish()
  }

  #finish(): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#idle)
    this.#filter.destroy()
    this.#router.destroy()
    this.#router.release()
    // What the client still sends is read and dropped.
    this.#downstream.flow.releaseAll()
    this.stats.add(`http.${this.#chain.statPrefix}.downstream_rq_active`, -1)
    this.stats.add(`http.${this.#chain.statPrefix}.downstream_rq_${this.#statusClass()}`)
    this.#context.log(this.#record(), this.#chain)
  }

  #statusClass(): string {
    const status = this.#writer.headersSent?.get(':status')
    return status === undefined ? 'reset' : `${status.slice(0, 1)}xx`
  }

  #record(): LogRecord {
    const writer = this.#writer
    return {
      startedAt: this.#startedAt,
      durationMs: performance.now() - this.#start,
      protocol: this.#downstream.protocol,
      responseMs: this.#responseMs,
      originalPath: this.#originalPath,
      requestHeaders: this.#headers,
      responseHeaders: writer?.headersSent,
      responseTrailers: writer?.trailersSent,
      status: Number(writer?.headersSent?.get(':status') ?? 0),
      details: this.#details,
      flags: this.#flags,
      bytesReceived: this.#received,
      bytesSent: writer?.bytes ?? 0,
      upstreamHost: this.#upstream?.host,
      upstreamCluster: this.#upstream?.cluster ?? this.#route?.target?.cluster,
      upstreamAttempts: this.#upstream?.attempts ?? 0,
      routeName: this.#route?.entry.name,
      virtualHost: this.#route?.entry.virtualHost,
      downstreamRemote: this.#downstream.remoteAddress,
      downstreamLocal: this.#downstream.localAddress,
      metadata: this.metadata,
    }
  }
}
