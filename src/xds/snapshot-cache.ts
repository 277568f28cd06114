/** The configuration that all clients are to have. Encodes each resource once; streams share the bytes. */
import type { JsonObject } from '@bufbuild/protobuf'
import { type EnvoyAge, resourcesFor } from '../compile/envoy/older-envoys.ts'
import type { EnvoyResources } from '../config/envoy-resources.ts'
import { compareText, type Problem } from '../config/problem.ts'
import { InvalidResourcesError } from './invalid-resources-error.ts'
import { type EncodedResource, hashOf, ResourceRegistry } from './registry.ts'
import { TypeUrl } from './type-urls.ts'

/** All resources of one type. */
interface TypeSnapshot {
  /** Hash of names and contents: equal on every replica that has the same resources. */
  readonly version: string
  readonly resources: ReadonlyMap<string, EncodedResource>
}

/** Immutable. Types without resources may be missing, except clusters and listeners. */
export type Snapshot = ReadonlyMap<string, TypeSnapshot>

export class SnapshotCache {
  readonly #registry: ResourceRegistry
  readonly #listeners = new Set<() => void>()
  /** Lists of the compiler share unchanged objects between versions. */
  readonly #encoded = new WeakMap<JsonObject, EncodedResource>()
  #resources: EnvoyResources | undefined
  #snapshot: Snapshot | undefined
  /** Made when the first client of that age asks. */
  readonly #older = new Map<EnvoyAge, Snapshot>()

  constructor(registry = new ResourceRegistry()) {
    this.#registry = registry
  }

  /** Undefined before the first `set`: then clients get no answer rather than an empty configuration. */
  get snapshot(): Snapshot | undefined {
    return this.#snapshot
  }

  /** What clients of this age are to have; undefined for those too old, and before the first `set`. */
  snapshotFor(age: EnvoyAge): Snapshot | undefined {
    if (age === 'too-old' || this.#resources === undefined) return undefined
    if (age === 'current') return this.#snapshot
    let snapshot = this.#older.get(age)
    if (snapshot === undefined)
      this.#older.set(age, (snapshot = toSnapshot(this.#read(resourcesFor(age, this.#resources)))))
    return snapshot
  }

  /** Throws `InvalidResourcesError` with all problems where `set` would; changes nothing. */
  check(resources: EnvoyResources): void {
    this.#read(resources)
  }

  /**
   * Replaces everything and tells the listeners when something changed; returns whether it did. The objects must not be changed
   * afterwards. Throws `InvalidResourcesError` with all problems and keeps what it had.
   */
  set(resources: EnvoyResources): boolean {
    const types = this.#read(resources)
    const before = this.#snapshot
    const next = toSnapshot(types)
    this.#resources = resources
    this.#snapshot = next
    this.#older.clear()
    const changed =
      before === undefined ||
      before.size !== next.size ||
      [...next].some(([url, type]) => before.get(url)?.version !== type.version)
    if (changed) for (const listener of this.#listeners) listener()
    return changed
  }

  /** Calls `listener` after each change until the returned function is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Everything encoded, by type and name. */
  #read(resources: EnvoyResources): Map<string, Map<string, EncodedResource>> {
    const problems: Problem[] = []
    const types = new Map<string, Map<string, EncodedResource>>([
      [TypeUrl.CLUSTER, new Map()],
      [TypeUrl.LISTENER, new Map()],
    ])
    const add = (list: readonly JsonObject[], typeUrl?: string): void => {
      for (const json of list) {
        try {
          const resource = this.#encode(json, typeUrl)
          let type = types.get(resource.typeUrl)
          if (type === undefined) types.set(resource.typeUrl, (type = new Map()))
          if (type.has(resource.name)) problems.push(duplicate(resource))
          type.set(resource.name, resource)
        } catch (error) {
          if (!(error instanceof InvalidResourcesError)) throw error
          problems.push(...error.problems)
        }
      }
    }
    add(resources.clusters, TypeUrl.CLUSTER)
    add(resources.endpoints, TypeUrl.ENDPOINTS)
    add(resources.listeners, TypeUrl.LISTENER)
    add(resources.routes, TypeUrl.ROUTE)
    add(resources.secrets, TypeUrl.SECRET)
    add(resources.others)
    if (problems.length > 0) throw new InvalidResourcesError(problems)
    return types
  }

  #encode(json: JsonObject, typeUrl: string | undefined): EncodedResource {
    let resource = this.#encoded.get(json)
    if (resource === undefined || (typeUrl !== undefined && resource.typeUrl !== typeUrl)) {
      resource = this.#registry.encodeResource(json, typeUrl)
      this.#encoded.set(json, resource)
    }
    return resource
  }
}

function toSnapshot(types: ReadonlyMap<string, ReadonlyMap<string, EncodedResource>>): Snapshot {
  return new Map(
    Array.from(types, ([typeUrl, resources]) => [typeUrl, { version: versionOf(resources.values()), resources }]),
  )
}

/** Version of a set of resources, independent of their order. */
export function versionOf(resources: Iterable<EncodedResource>): string {
  const lines = [...resources].map(resource => `${resource.name}\n${resource.version}`)
  return hashOf(lines.sort(compareText).join('\n'))
}

function duplicate(resource: EncodedResource): Problem {
  const object = `${resource.typeUrl.slice(resource.typeUrl.lastIndexOf('.') + 1)} ${resource.name}`
  return {
    severity: 'error',
    code: 'duplicate-name',
    object,
    path: ['name'],
    message: 'another resource of the type has this name',
  }
}
