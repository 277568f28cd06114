/**
 * The last filter of the request path: picks the route, changes the request as the route says, and gets an answer from an
 * upstream, trying again on other endpoints as long as the retry policy asks for it and the request can be replayed.
 */
import type { JsonObject } from '@bufbuild/protobuf'
import type { LogRecord } from './access-log.ts'
import { type Cluster, EndpointChoice, setMetadata } from './cluster.ts'
import type { Endpoint } from './endpoint.ts'
import { applyHeaderEdits } from './header-edits.ts'
import { HeaderList } from './header-list.ts'
import { HoldReason, type Flow, type MessageSink } from './message-sink.ts'
import { Mirror } from './mirror.ts'
import { openUpstream } from './open-upstream.ts'
import { type AttemptFailure, backOffMs, type RetryRules, retriesFailure, retriesStatus } from './retry.ts'
import { type DirectAction, type ForwardAction, routeRequest, type SelectedRoute } from './route-table.ts'
import type { Upstream, UpstreamEvents } from './upstream.ts'

/** The exchange around the router. */
export interface RouterHost {
  readonly metadata: Map<string, JsonObject>
  readonly requestFlow: Flow
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2'
  /** The route as of now, selected again when an answer cleared it. */
  route(headers: HeaderList): SelectedRoute | undefined
  cluster(name: string): Cluster | undefined
  /** Responses go through the filter. */
  readonly response: MessageSink
  /** A response of the proxy itself; goes through the filter as well. */
  localReply(status: number, details: string, flags: string, body: string | Uint8Array, headers?: HeaderList): void
  /** The response broke off after its headers had been passed on. */
  resetResponse(details: string): void
  /** Fills in `%…%` operators of header values. */
  format(value: string): string
  record(): LogRecord
  note(upstream: { cluster: string; host?: string; attempts: number; flags?: string }): void
}

const EMPTY = new Uint8Array()

export class Router implements MessageSink {
  readonly #host: RouterHost
  readonly #replayLimit: number
  readonly #mirrors: Mirror[] = []
  #headers: HeaderList | undefined
  #action: ForwardAction | undefined
  #cluster: Cluster | undefined
  #choice: EndpointChoice | undefined
  #endpoint: Endpoint | undefined
  #upstream: Upstream | undefined
  #attempts = 0
  #kept: Uint8Array[] = []
  #keptBytes = 0
  #replayable = true
  #requestEnded = false
  #trailers: HeaderList | undefined
  #responding = false
  #over = false
  #reading = true
  readonly #timers: { route?: NodeJS.Timeout; attempt?: NodeJS.Timeout; backOff?: NodeJS.Timeout } = {}

  /** `replayLimit`: bytes of the request kept for another attempt. */
  constructor(host: RouterHost, replayLimit: number) {
    this.#host = host
    this.#replayLimit = replayLimit
  }

  headers(headers: HeaderList, end: boolean): void {
    const route = this.#host.route(headers)
    if (route === undefined) {
      this.#local(404, 'route_not_found', 'NR', '')
      return
    }
    const { action } = route.entry
    if (action.type === 'direct') {
      this.#direct(action)
      return
    }
    if (action.type === 'redirect') {
      const location = action.location(routeRequest(headers))
      this.#local(action.status, 'direct_response', '', '', new HeaderList([['location', location]]))
      return
    }
    const cluster = route.target === undefined ? undefined : this.#host.cluster(route.target.cluster)
    if (cluster === undefined) {
      this.#local(action.notFoundStatus, 'cluster_not_found', 'NC', '')
      return
    }
    if (cluster.active >= cluster.settings.maxRequests) {
      this.#local(
        503,
        'overflow',
        'UO',
        'upstream connect error or disconnect/reset before headers. reset reason: overflow',
      )
      return
    }
    this.#prepare(headers, route, action)
    this.#headers = headers
    this.#action = action
    this.#cluster = cluster
    cluster.active++
    this.#replayable = action.retry !== undefined
    this.#choice = new EndpointChoice(cluster, headers, this.#host.metadata)
    this.#requestEnded = end
    for (const { cluster: name, fraction } of action.mirrors) this.#mirror(name, fraction)
    for (const mirror of this.#mirrors) mirror.headers(headers, end)
    this.#attempt()
    if (end) this.#startRouteTimer()
  }

  #direct({ status, contentType, body }: DirectAction): void {
    const headers = new HeaderList(contentType === undefined ? [] : [['content-type', contentType]])
    this.#local(status, 'direct_response', '', body(this.#host.record()), headers)
  }

  #prepare(headers: HeaderList, route: SelectedRoute, action: ForwardAction): void {
    const path = headers.get(':path') ?? '/'
    const host = route.target?.hostRewrite ?? action.rewriteHost?.(headers)
    const edits =
      route.target === undefined
        ? route.entry.requestEdits
        : [route.target.requestEdits, ...route.entry.requestEdits.toReversed()]
    for (const edit of edits) applyHeaderEdits(headers, edit, value => this.#host.format(value))
    if (action.rewritePath !== undefined) headers.set(':path', action.rewritePath(path))
    if (host !== undefined) headers.set(':authority', host)
  }

  data(bytes: Uint8Array, end: boolean): void {
    if (this.#over || this.#cluster === undefined) return
    if (end) this.#requestEnded = true
    if (this.#replayable && !this.#responding && bytes.length > 0) {
      this.#keptBytes += bytes.length
      if (this.#keptBytes > this.#replayLimit) this.#stopKeeping()
      else this.#kept.push(bytes)
    }
    for (const mirror of this.#mirrors) mirror.data(bytes, end)
    this.#upstream?.data(bytes, end)
    this.#checkPending()
    if (end) this.#startRouteTimer()
  }

  trailers(trailers: HeaderList): void {
    if (this.#over || this.#cluster === undefined) return
    this.#trailers = trailers
    this.#requestEnded = true
    for (const mirror of this.#mirrors) mirror.trailers(trailers)
    this.#upstream?.trailers(trailers)
    this.#startRouteTimer()
  }

  /** Back-pressure of the client. */
  read(open: boolean): void {
    this.#reading = open
    this.#upstream?.read(open)
  }

  destroy(): void {
    if (this.#over) return
    this.#finish()
    this.#upstream?.abort()
  }

  #attempt(): void {
    const cluster = this.#cluster as Cluster
    const { settings } = cluster
    const headers = this.#headers as HeaderList
    const endpoint = this.#choice?.next(this.#action?.retry?.avoidsTried ?? 0)
    if (endpoint === undefined) {
      this.#local(503, 'no_healthy_upstream', 'UH', 'no healthy upstream')
      return
    }
    this.#attempts++
    this.#endpoint = endpoint
    endpoint.active++
    const { selectedKey } = settings.balancing
    if (selectedKey !== undefined) setMetadata(this.#host.metadata, selectedKey, endpoint.name)
    this.#host.note({ cluster: settings.name, host: endpoint.name, attempts: this.#attempts })
    const protocol = this.#protocolOf(cluster)
    // Events of an abandoned attempt must not reach the next one.
    const number = this.#attempts
    const current = (): boolean => !this.#over && this.#attempts === number
    const events: UpstreamEvents = {
      headers: (response, end) => current() && this.#response(response, end),
      data: (bytes, end) => {
        if (!current()) return
        if (end) this.#finish()
        this.#host.response.data(bytes, end)
      },
      trailers: trailers => {
        if (!current()) return
        this.#finish()
        this.#host.response.trailers(trailers)
      },
      failed: (failure, details) => current() && this.#failed(failure, details),
      drained: () => current() && this.#host.requestFlow.release(HoldReason.PEER),
    }
    const options = {
      endpoint,
      protocol,
      connectTimeoutMs: settings.connectTimeoutMs,
      trailers: protocol === 'http2' || settings.http1Trailers,
    } as const
    const upstream = openUpstream(options, events)
    this.#upstream = upstream
    const perTry = this.#action?.retry?.perTryTimeoutMs ?? 0
    clearTimeout(this.#timers.attempt)
    if (perTry > 0)
      this.#timers.attempt = setTimeout(
        () => current() && this.#failed('per-try-timeout', 'upstream_per_try_timeout'),
        perTry,
      )
    if (!this.#reading) upstream.read(false)
    const bodyless = this.#requestEnded && this.#keptBytes === 0 && this.#trailers === undefined
    upstream.headers(headers.clone(), bodyless)
    if (bodyless) return
    for (const bytes of this.#kept) upstream.data(bytes, false)
    if (this.#trailers !== undefined) upstream.trailers(this.#trailers)
    else if (this.#requestEnded) upstream.data(EMPTY, true)
    this.#checkPending()
  }

  #protocolOf({ settings }: Cluster): 'http1' | 'http2' {
    if (settings.protocol !== 'downstream') return settings.protocol
    return this.#host.protocol === 'HTTP/2' ? 'http2' : 'http1'
  }

  #mirror(name: string, fraction: number): void {
    const cluster = this.#host.cluster(name)
    if (cluster !== undefined && Math.random() < fraction)
      this.#mirrors.push(new Mirror(cluster, this.#protocolOf(cluster)))
  }

  #checkPending(): void {
    const limit = this.#cluster?.settings.bufferLimit ?? Number.POSITIVE_INFINITY
    if ((this.#upstream?.pendingBytes ?? 0) > limit) this.#host.requestFlow.hold(HoldReason.PEER)
  }

  #stopKeeping(): void {
    this.#replayable = false
    this.#kept = []
  }

  #response(headers: HeaderList, end: boolean): void {
    const retry = this.#action?.retry
    const status = Number(headers.get(':status'))
    if (retry !== undefined && retriesStatus(retry, status) && this.#again(retry)) return
    clearTimeout(this.#timers.attempt)
    this.#responding = true
    this.#stopKeeping()
    if (end) this.#finish()
    this.#host.response.headers(headers, end)
  }

  #failed(failure: AttemptFailure, details: string): void {
    const sent = this.#upstream?.requestSent === true
    if (this.#responding) {
      this.#finish()
      this.#host.resetResponse(`upstream_reset_after_response_started{${details}}`)
      return
    }
    const retry = this.#action?.retry
    if (retry !== undefined && retriesFailure(retry, failure, sent) && this.#again(retry)) return
    const flags =
      failure === 'connect-failure'
        ? 'UF'
        : failure === 'per-try-timeout'
          ? 'UT'
          : failure === 'refused-stream'
            ? 'UR'
            : 'UC'
    const reason = details.split('|', 1)[0]?.replaceAll('_', ' ')
    if (failure === 'per-try-timeout') this.#local(504, details, flags, 'upstream request timeout')
    else
      this.#local(
        503,
        `upstream_reset_before_response_started{${details}}`,
        flags,
        `upstream connect error or disconnect/reset before headers. reset reason: ${reason}`,
      )
  }

  /** False when no attempt is left or the request is gone. */
  #again(retry: RetryRules): boolean {
    if (!this.#replayable || this.#attempts > retry.retries) return false
    this.#leaveEndpoint()
    this.#upstream?.abort()
    this.#upstream = undefined
    this.#host.requestFlow.release(HoldReason.PEER)
    const delay = backOffMs(retry, this.#attempts + 1, Math.random())
    // Until the attempt starts its events are those of nobody.
    this.#timers.backOff = setTimeout(() => {
      if (!this.#over) this.#attempt()
    }, delay)
    return true
  }

  #startRouteTimer(): void {
    const timeout = this.#action?.timeoutMs ?? 0
    if (timeout <= 0 || this.#over || this.#timers.route !== undefined) return
    this.#timers.route = setTimeout(() => {
      if (this.#over) return
      const responding = this.#responding
      this.#upstream?.abort()
      if (responding) {
        this.#finish()
        this.#host.resetResponse('response_timeout')
      } else this.#local(504, 'response_timeout', 'UT', 'upstream request timeout')
    }, timeout)
  }

  #local(status: number, details: string, flags: string, body: string | Uint8Array, headers?: HeaderList): void {
    const upstream = this.#upstream
    this.#finish()
    upstream?.abort()
    this.#host.localReply(status, details, flags, body, headers)
  }

  #leaveEndpoint(): void {
    if (this.#endpoint !== undefined) this.#endpoint.active--
    this.#endpoint = undefined
  }

  /** No event of an upstream counts from here on. The upstream itself may still be sending what it was given. */
  #finish(): void {
    if (this.#over) return
    this.#over = true
    for (const timer of Object.values(this.#timers)) clearTimeout(timer)
    this.#leaveEndpoint()
    if (this.#cluster !== undefined) this.#cluster.active--
    this.#stopKeeping()
    this.#host.requestFlow.release(HoldReason.PEER)
  }

  /** After the response is complete: an upload that goes on has no reader any more. */
  release(): void {
    for (const mirror of this.#mirrors) mirror.release()
    this.#upstream?.abort()
  }
}
