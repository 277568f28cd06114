/**
 * One client's aggregated stream (state of the world): orders the types and keeps make-before-break. Knows no gRPC.
 *
 * - Order of a change: clusters, endpoints, listeners, routes, then the rest. Endpoints of a changed cluster are sent again right
 *   after it, because Envoy acknowledges the cluster only when it has them.
 * - Listeners and routes wait for the clusters and endpoints before them to be accepted.
 * - Clusters that are gone stay until the client has accepted listeners and routes without them.
 * - A type has at most one response under way; changes in the meantime are merged into the next.
 * Each of these waits ends after `ackTimeoutMs` without an answer. A refusal ends it as well, except that clusters which are gone
 * stay: who refused new routes still runs the old ones and needs their clusters.
 */
import type { EncodedResource } from './registry.ts'
import { type Snapshot, versionOf } from './snapshot-cache.ts'
import { type RequestMeaning, Subscription, type SubscriptionRequest } from './subscription.ts'
import { pushOrder, TypeUrl } from './type-urls.ts'
import type { DiscoveryAnswer } from './discovery-response.ts'

export interface AdsStreamOptions {
  readonly send: (answer: DiscoveryAnswer) => void
  readonly snapshot: () => Snapshot | undefined
  /** Default 5,000. */
  readonly ackTimeoutMs?: number
}

const NONE: ReadonlyMap<string, EncodedResource> = new Map()

export class AdsStream {
  readonly #options: AdsStreamOptions
  readonly #ackTimeoutMs: number
  /** In push order. */
  #subscriptions: Subscription[] = []
  /** Endpoints whose cluster was sent since they were. */
  readonly #endpointsAgain = new Set<string>()
  #nonces = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: AdsStreamOptions) {
    this.#options = options
    this.#ackTimeoutMs = options.ackTimeoutMs ?? 5000
  }

  /** One per type that the client asked for. */
  get subscriptions(): readonly Subscription[] {
    return this.#subscriptions
  }

  request(typeUrl: string, request: SubscriptionRequest): RequestMeaning {
    let subscription = this.#find(typeUrl)
    if (subscription === undefined) {
      subscription = new Subscription(typeUrl)
      this.#subscriptions = [...this.#subscriptions, subscription].sort(
        (a, b) => pushOrder(a.typeUrl) - pushOrder(b.typeUrl),
      )
    }
    const meaning = subscription.request(request)
    if (meaning !== 'stale') this.push()
    return meaning
  }

  /** The client runs what the snapshot has of this type, as far as it asked for it. False before there is a snapshot. */
  isSynced(subscription: Subscription): boolean {
    const snapshot = this.#options.snapshot()
    if (snapshot === undefined || subscription.unjudgedSince !== undefined || subscription.refusal !== undefined)
      return false
    return subscription.pending(snapshot.get(subscription.typeUrl)?.resources ?? NONE) === undefined
  }

  /** Sends what the rules above allow to send now. To be called after each change of the snapshot. */
  push(): void {
    const snapshot = this.#options.snapshot()
    if (snapshot === undefined || this.#closed) return
    for (const subscription of this.#subscriptions) {
      if (this.#isUnjudged(subscription)) continue
      if (this.#mustWait(subscription)) continue
      this.#pushType(subscription, snapshot)
    }
    this.#schedule()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #pushType(subscription: Subscription, snapshot: Snapshot): void {
    const { typeUrl } = subscription
    const isClusters = typeUrl === TypeUrl.CLUSTER
    const type = snapshot.get(typeUrl)
    let resources = type?.resources ?? NONE
    let version = type?.version
    if (isClusters) {
      const retained = this.#retainedClusters(subscription, snapshot)
      if (retained.length > 0) {
        resources = new Map([...resources, ...retained])
        version = versionOf(resources.values())
      }
    }
    const again = typeUrl === TypeUrl.ENDPOINTS ? this.#endpointsAgain : undefined
    const pending = subscription.pending(resources, again)
    if (pending === undefined) return
    if (isClusters) this.#noteChangedClusters(subscription, pending)
    again?.clear()
    const nonce = String(++this.#nonces)
    version ??= versionOf(pending)
    subscription.responded(nonce, version, pending, performance.now())
    this.#options.send({ typeUrl, version, nonce, resources: pending })
  }

  /** Clusters that the client has, that the snapshot has not, and that its routes may still use. */
  #retainedClusters(clusters: Subscription, snapshot: Snapshot): [string, EncodedResource][] {
    const current = snapshot.get(TypeUrl.CLUSTER)?.resources ?? NONE
    const gone = [...clusters.sent].filter(([name]) => !current.has(name))
    const inUse =
      gone.length > 0 && [TypeUrl.LISTENER, TypeUrl.ROUTE].some(typeUrl => !this.#isSettled(typeUrl, snapshot))
    return inUse ? gone : []
  }

  /** The client runs the snapshot's resources of this type, or had its time to say so. */
  #isSettled(typeUrl: string, snapshot: Snapshot): boolean {
    const subscription = this.#find(typeUrl)
    if (subscription === undefined) return true
    if (this.#isUnjudged(subscription) || subscription.refusal !== undefined) return false
    return subscription.pending(snapshot.get(typeUrl)?.resources ?? NONE) === undefined
  }

  #noteChangedClusters(clusters: Subscription, pending: readonly EncodedResource[]): void {
    for (const { name, version, endpointsName } of pending) {
      if (endpointsName !== undefined && clusters.sent.get(name)?.version !== version)
        this.#endpointsAgain.add(endpointsName)
    }
  }

  /** Listeners and routes come after the clusters that they use. */
  #mustWait({ typeUrl }: Subscription): boolean {
    if (typeUrl !== TypeUrl.LISTENER && typeUrl !== TypeUrl.ROUTE) return false
    return [TypeUrl.CLUSTER, TypeUrl.ENDPOINTS].some(before => {
      const subscription = this.#find(before)
      return subscription !== undefined && this.#isUnjudged(subscription)
    })
  }

  #isUnjudged({ unjudgedSince }: Subscription): boolean {
    return unjudgedSince !== undefined && performance.now() < unjudgedSince + this.#ackTimeoutMs
  }

  /** Looks again when the first wait ends. */
  #schedule(): void {
    clearTimeout(this.#timer)
    const now = performance.now()
    let wait = Infinity
    for (const { unjudgedSince } of this.#subscriptions) {
      if (unjudgedSince === undefined) continue
      const left = unjudgedSince + this.#ackTimeoutMs - now
      if (left > 0) wait = Math.min(wait, left)
    }
    if (wait === Infinity) return
    this.#timer = setTimeout(() => this.push(), Math.ceil(wait))
    this.#timer.unref()
  }

  #find(typeUrl: string): Subscription | undefined {
    return this.#subscriptions.find(subscription => subscription.typeUrl === typeUrl)
  }
}
