/** Clusters at run time: endpoints, choice among them, and the limit of requests in flight. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import type { ConnectionOptions } from './ext-proc-client.ts'
import { Endpoint } from './endpoint.ts'
import type { HeaderList } from './header-list.ts'
import type { Transport } from './transport.ts'

export interface ClusterSettings {
  readonly name: string
  /** Changes when connections can't be kept over an update. */
  readonly transportId: string
  readonly protocol: 'http1' | 'http2' | 'downstream'
  readonly connectTimeoutMs: number
  readonly bufferLimit: number
  readonly http1Trailers: boolean
  readonly http2: ConnectionOptions
  readonly maxRequests: number
  /** Percent of usable endpoints under which all are used. */
  readonly panicThreshold: number
  readonly balancing: Balancing
  readonly endpoints: readonly EndpointSettings[]
}

export interface EndpointSettings {
  readonly transport: Transport
  /** False: never chosen by the balancer; an override list may still name it. */
  readonly healthy: boolean
  readonly weight: number
  readonly priority: number
}

export type Fallback = 'round-robin' | 'least-request' | 'random' | 'none'

export interface Balancing {
  readonly sources: readonly OverrideSource[]
  readonly selectedKey: MetadataPath | undefined
  readonly fallback: Fallback
}

type OverrideSource =
  | { readonly type: 'header'; readonly name: string }
  | { readonly type: 'metadata'; readonly path: MetadataPath }

export interface MetadataPath {
  readonly namespace: string
  readonly keys: readonly string[]
}

interface WeightedEndpoint {
  readonly endpoint: Endpoint
  readonly weight: number
}

export class Cluster {
  settings: ClusterSettings
  active = 0
  #endpoints = new Map<string, Endpoint>()
  #usable: readonly WeightedEndpoint[] = []
  #turn = 0

  constructor(settings: ClusterSettings) {
    this.settings = settings
    this.update(settings)
  }

  /** Takes new settings with the same `transportId`: connections of endpoints that stay are kept. */
  update(settings: ClusterSettings): void {
    this.settings = settings
    const before = this.#endpoints
    this.#endpoints = new Map()
    for (const { transport } of settings.endpoints)
      this.#endpoints.set(transport.name, before.get(transport.name) ?? new Endpoint(transport, settings.http2))
    for (const [name, endpoint] of before) if (!this.#endpoints.has(name)) endpoint.retire()
    this.#usable = this.#selectUsable(settings)
  }

  /** The best priority that has usable endpoints; all of it below the panic threshold. */
  #selectUsable(settings: ClusterSettings): readonly WeightedEndpoint[] {
    const priorities = [...new Set(settings.endpoints.map(endpoint => endpoint.priority))].sort((a, b) => a - b)
    for (const priority of priorities) {
      const level = settings.endpoints.filter(endpoint => endpoint.priority === priority)
      const healthy = level.filter(endpoint => endpoint.healthy)
      const panics = (healthy.length / level.length) * 100 < settings.panicThreshold
      const chosen = panics && (healthy.length > 0 || priority === priorities.at(-1)) ? level : healthy
      if (chosen.length > 0)
        return chosen.flatMap(({ transport, weight }) => {
          const endpoint = this.#endpoints.get(transport.name)
          return endpoint === undefined ? [] : [{ endpoint, weight }]
        })
    }
    return []
  }

  endpoint(name: string): Endpoint | undefined {
    return this.#endpoints.get(name)
  }

  /** By the fallback policy; undefined when there is none to use. */
  balance(): Endpoint | undefined {
    const usable = this.#usable
    const { fallback } = this.settings.balancing
    if (fallback === 'none' || usable.length === 0) return undefined
    if (fallback === 'random') return usable[Math.floor(Math.random() * usable.length)]?.endpoint
    if (fallback === 'least-request') {
      const a = usable[Math.floor(Math.random() * usable.length)]?.endpoint
      const b = usable[Math.floor(Math.random() * usable.length)]?.endpoint
      return a !== undefined && b !== undefined && b.active < a.active ? b : a
    }
    const total = usable.reduce((sum, entry) => sum + entry.weight, 0)
    let place = this.#turn++ % total
    for (const { endpoint, weight } of usable) {
      if (place < weight) return endpoint
      place -= weight
    }
    return usable[0]?.endpoint
  }

  /** For ext_proc: the next endpoint whose last connection attempt did not just fail, or any. */
  balanceProcessor(): Endpoint | undefined {
    for (let i = 0; i < this.#usable.length; i++) {
      const endpoint = this.balance()
      if (endpoint === undefined || !endpoint.processor.failedLately) return endpoint
    }
    return this.balance()
  }

  retire(): void {
    for (const endpoint of this.#endpoints.values()) endpoint.retire()
  }

  destroy(): void {
    for (const endpoint of this.#endpoints.values()) endpoint.destroy()
  }
}

/**
 * The endpoints of one request in order of trial: those that the override sources name (sources form one list in order, not
 * de-duplicated; entries that the cluster doesn't have are skipped; health is not looked at), then the fallback policy.
 */
export class EndpointChoice {
  readonly #cluster: Cluster
  readonly #list: readonly Endpoint[]
  readonly #tried = new Set<Endpoint>()
  #next = 0

  constructor(cluster: Cluster, headers: HeaderList, metadata: ReadonlyMap<string, JsonObject>) {
    this.#cluster = cluster
    const list: Endpoint[] = []
    for (const source of cluster.settings.balancing.sources) {
      const text = source.type === 'header' ? headers.get(source.name) : textAt(metadata, source.path)
      for (const name of text?.split(',') ?? []) {
        const endpoint = cluster.endpoint(name.trim())
        if (endpoint !== undefined) list.push(endpoint)
      }
    }
    this.#list = list
  }

  /** `redraws`: how often the balancer may be asked again when it names an endpoint that was tried already. */
  next(redraws: number): Endpoint | undefined {
    let endpoint = this.#list[this.#next++] ?? this.#cluster.balance()
    for (let i = 0; i < redraws && endpoint !== undefined && this.#tried.has(endpoint); i++)
      endpoint = this.#cluster.balance()
    if (endpoint !== undefined) this.#tried.add(endpoint)
    return endpoint
  }
}

function textAt(metadata: ReadonlyMap<string, JsonObject>, path: MetadataPath): string | undefined {
  const value = metadataAt(metadata, path)
  return typeof value === 'string' ? value : undefined
}

export function metadataAt(metadata: ReadonlyMap<string, JsonObject>, path: MetadataPath): JsonValue | undefined {
  let value: JsonValue | undefined = metadata.get(path.namespace)
  for (const key of path.keys) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    value = value[key]
  }
  return value
}

/** Writes a value below a namespace, making the objects on the way. */
export function setMetadata(metadata: Map<string, JsonObject>, path: MetadataPath, value: JsonValue): void {
  const root: JsonObject = { ...metadata.get(path.namespace) }
  metadata.set(path.namespace, root)
  let at = root
  path.keys.forEach((key, index) => {
    if (index === path.keys.length - 1) {
      at[key] = value
      return
    }
    const below = at[key]
    const next: JsonObject = typeof below === 'object' && below !== null && !Array.isArray(below) ? { ...below } : {}
    at[key] = next
    at = next
  })
}
