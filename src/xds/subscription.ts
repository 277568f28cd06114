/** State-of-the-world subscription: what one client wants of one type on one stream, and what it was given. No I/O. */
import type { EncodedResource } from './registry.ts'
import { isFullState } from './type-urls.ts'

/** The parts of a `DiscoveryRequest` that matter here. */
export interface SubscriptionRequest {
  readonly resourceNames: readonly string[]
  readonly responseNonce: string
  /** Message of `error_detail`; undefined when there is none. */
  readonly error?: string
}

/** What a request turned out to be. A subscription change may come with any of them but `stale`. */
export type RequestMeaning = 'stale' | 'subscription' | 'ack' | 'nack'

/** A response that the client refused. */
export interface Refusal {
  readonly version: string
  readonly message: string
}

export class Subscription {
  readonly typeUrl: string
  #names: ReadonlySet<string> = new Set()
  #wildcard = false
  #everNamed = false
  #sent = new Map<string, EncodedResource>()
  #nonce = ''
  #sentVersion = ''
  /** Time of the response that the client has not judged yet. */
  #unjudgedSince: number | undefined
  #acked = ''
  #refusal: Refusal | undefined

  constructor(typeUrl: string) {
    this.typeUrl = typeUrl
  }

  /** What the client was sent and still wants. */
  get sent(): ReadonlyMap<string, EncodedResource> {
    return this.#sent
  }
  /** Of the last response; empty before. */
  get sentVersion(): string {
    return this.#sentVersion
  }
  /** Of the last response that the client accepted; empty before. */
  get ackedVersion(): string {
    return this.#acked
  }
  /** Set while the last judged response is a refused one. */
  get refusal(): Refusal | undefined {
    return this.#refusal
  }
  /** Time (as given to `responded`) of a response that is neither accepted nor refused. */
  get unjudgedSince(): number | undefined {
    return this.#unjudgedSince
  }
  /** Number of names asked for, or `*`. */
  get wanted(): number | '*' {
    return this.#wildcard ? '*' : this.#names.size
  }

  /** Takes a request. A stale one (its nonce is not that of the last response) changes nothing. */
  request(request: SubscriptionRequest): RequestMeaning {
    // Before our first response a nonce can only be one of an earlier stream.
    const judges = this.#nonce !== '' && request.responseNonce !== ''
    if (judges && request.responseNonce !== this.#nonce) return 'stale'
    this.#subscribe(request.resourceNames)
    if (!judges) return 'subscription'
    if (request.error !== undefined) {
      this.#unjudgedSince = undefined
      this.#refusal = { version: this.#sentVersion, message: request.error }
      return 'nack'
    }
    // Later requests with the same nonce change the subscription only; after a refusal they accept nothing.
    if (this.#unjudgedSince === undefined) return 'subscription'
    this.#unjudgedSince = undefined
    this.#refusal = undefined
    this.#acked = this.#sentVersion
    return 'ack'
  }

  /**
   * What to send now that `resources` are the ones in force: undefined when the client has been given all that it wants. A refused
   * resource is not sent again until its content changes. `again` names resources to send although the client has them.
   */
  pending(
    resources: ReadonlyMap<string, EncodedResource>,
    again?: ReadonlySet<string>,
  ): readonly EncodedResource[] | undefined {
    if (!this.#wildcard && this.#names.size === 0) return undefined
    for (const name of this.#sent.keys())
      if (!isFullState(this.typeUrl) && !resources.has(name)) this.#sent.delete(name)
    const wanted = this.#wildcard ? [...resources.values()] : this.#existing(resources)
    const changed = wanted.filter(
      resource => this.#sent.get(resource.name)?.version !== resource.version || again?.has(resource.name),
    )
    if (!isFullState(this.typeUrl)) return changed.length > 0 ? changed : undefined
    // Also the absence of what was asked for is an answer here.
    const complete = this.#nonce !== '' && changed.length === 0 && wanted.length === this.#sent.size
    return complete ? undefined : wanted
  }

  /** The result of `pending` was sent. */
  responded(nonce: string, version: string, resources: readonly EncodedResource[], now: number): void {
    if (isFullState(this.typeUrl)) this.#sent.clear()
    for (const resource of resources) this.#sent.set(resource.name, resource)
    this.#nonce = nonce
    this.#sentVersion = version
    this.#unjudgedSince = now
  }

  #subscribe(resourceNames: readonly string[]): void {
    const names = new Set(resourceNames)
    const star = names.delete('*')
    if (resourceNames.length > 0) this.#everNamed = true
    // The older form of a wildcard; afterwards an empty list means that nothing is wanted any more.
    const legacy = isFullState(this.typeUrl) && !this.#everNamed
    this.#wildcard = star || legacy
    this.#names = names
    // Who asks again after losing interest gets the resource again.
    if (!this.#wildcard) for (const name of this.#sent.keys()) if (!names.has(name)) this.#sent.delete(name)
  }

  #existing(resources: ReadonlyMap<string, EncodedResource>): EncodedResource[] {
    const existing: EncodedResource[] = []
    for (const name of this.#names) {
      const resource = resources.get(name)
      if (resource !== undefined) existing.push(resource)
    }
    return existing
  }
}
