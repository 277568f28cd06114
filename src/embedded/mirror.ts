/** A copy of a request for another cluster; what comes back, or whether anything does, is nobody's concern. */
import type { Cluster } from './cluster.ts'
import type { HeaderList } from './header-list.ts'
import type { MessageSink } from './message-sink.ts'
import { openUpstream } from './open-upstream.ts'
import type { Upstream } from './upstream.ts'
import { portSuffix, withoutPort } from './route-table.ts'

export class Mirror implements MessageSink {
  readonly #cluster: Cluster
  readonly #protocol: 'http1' | 'http2'
  #upstream: Upstream | undefined
  #requestEnded = false

  constructor(cluster: Cluster, protocol: 'http1' | 'http2') {
    this.#cluster = cluster
    this.#protocol = protocol
  }

  headers(headers: HeaderList, end: boolean): void {
    const endpoint = this.#cluster.balance()
    if (endpoint === undefined) return
    const { connectTimeoutMs, http1Trailers } = this.#cluster.settings
    const upstream = openUpstream(
      { endpoint, protocol: this.#protocol, connectTimeoutMs, trailers: this.#protocol === 'http2' || http1Trailers },
      {
        headers: () => undefined,
        data: () => undefined,
        trailers: () => undefined,
        failed: () => undefined,
        drained: () => undefined,
      },
    )
    this.#upstream = upstream
    this.#requestEnded = end
    const copy = headers.clone()
    // As Envoy marks copies.
    const authority = copy.get(':authority') ?? ''
    copy.set(':authority', `${withoutPort(authority)}-shadow${portSuffix(authority)}`)
    upstream.headers(copy, end)
  }

  data(bytes: Uint8Array, end: boolean): void {
    const upstream = this.#upstream
    if (upstream === undefined) return
    upstream.data(bytes, end)
    this.#requestEnded = end
    // The copy never slows the request down: too slow a taker loses it.
    if (upstream.pendingBytes > this.#cluster.settings.bufferLimit) this.#drop()
  }

  trailers(trailers: HeaderList): void {
    this.#requestEnded = true
    this.#upstream?.trailers(trailers)
  }

  /** The request is over; a copy that isn't complete can't become it. */
  release(): void {
    if (!this.#requestEnded) this.#drop()
  }

  #drop(): void {
    this.#upstream?.abort()
    this.#upstream = undefined
  }
}
