/** For tests: one Lease of an API server, without sockets, so that the clock can be the test's. */
import { ApiError } from './api-error.ts'
import type { LeasePlace } from './lease.ts'

export const PLACE: LeasePlace = { namespace: 'models', name: 'epp-models-llm.llm-d.ai' }
const COLLECTION = '/apis/coordination.k8s.io/v1/namespaces/models/leases'
const PATH = `${COLLECTION}/${PLACE.name}`

type Spec = Record<string, unknown>
type Stored = { metadata: { resourceVersion?: string; [field: string]: unknown }; spec: Spec }
export type Method = 'GET' | 'POST' | 'PUT'

/** What the server has, and how it takes writes. */
export class FakeLeases {
  stored: Stored | undefined
  version = 0

  /** Another client's doing. */
  write(spec: Spec): void {
    this.stored = { metadata: { name: PLACE.name, resourceVersion: String(++this.version) }, spec }
  }

  handle(method: Method, path: string, object: unknown): Stored {
    if (path !== (method === 'POST' ? COLLECTION : PATH)) throw new ApiError(404, `${method} ${path}`)
    if (method !== 'POST' && this.stored === undefined) throw new ApiError(404, 'not found')
    if (method === 'GET') return structuredClone(this.stored!)
    const sent = structuredClone(object) as Stored
    const expected = method === 'POST' ? undefined : this.stored!.metadata.resourceVersion
    if (method === 'POST' && this.stored !== undefined) throw new ApiError(409, 'it exists already')
    if (sent.metadata.resourceVersion !== expected) throw new ApiError(409, 'the object has been modified')
    sent.metadata.resourceVersion = String(++this.version)
    this.stored = sent
    return structuredClone(sent)
  }
}

/** How a candidate reaches the server. */
export class Line {
  readonly #leases: FakeLeases
  /** Requests fail at once, or are never answered: before the server has done what they ask for, or after ('unheard': writes only). */
  fault: 'none' | 'broken' | 'silent' | 'mute' | 'unheard' = 'none'
  refusal: ApiError | undefined
  answer: unknown
  readonly asked: Method[] = []
  renewals = 0

  constructor(leases: FakeLeases) {
    this.#leases = leases
  }

  renew(): Promise<void> {
    this.renewals++
    return Promise.resolve()
  }

  getJson = (path: string, signal: AbortSignal) => this.#ask('GET', path, undefined, signal)
  postJson = (path: string, object: unknown, signal: AbortSignal) => this.#ask('POST', path, object, signal)
  putJson = (path: string, object: unknown, signal: AbortSignal) => this.#ask('PUT', path, object, signal)

  async #ask(method: Method, path: string, object: unknown, signal: AbortSignal): Promise<unknown> {
    this.asked.push(method)
    await Promise.resolve()
    signal.throwIfAborted()
    if (this.fault === 'broken') throw new Error('connect ECONNREFUSED')
    if (this.refusal !== undefined) throw this.refusal
    const works = this.fault === 'none' || (this.fault === 'unheard' && method === 'GET')
    if (!works && this.fault !== 'silent') this.#leases.handle(method, path, object)
    if (!works)
      return await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    return this.answer ?? this.#leases.handle(method, path, object)
  }
}
