/**
 * What is served to Envoys that are older than the resources (docs/envoy-versions.md has the table, with how it was measured).
 * Everything else is the same for all; a field that an Envoy doesn't know it would ignore in silence.
 */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import type { EnvoyResources } from '../../config/envoy-resources.ts'
import { EXT_PROC_FILTER } from '../names.ts'

/** Version numbers as an xDS node gives them. */
export interface EnvoyRelease {
  readonly majorNumber: number
  readonly minorNumber: number
}

/** `too-old`: it would ignore fields that the fail-closed path depends on. It gets nothing. */
export type EnvoyAge = 'current' | 'before-1.38' | 'before-1.37' | 'too-old'

/** The oldest that is served. */
export const OLDEST_ENVOY = '1.36.0'

/** Undefined (a client that doesn't say, or that is no Envoy) counts as current. */
export function ageOf(release: EnvoyRelease | undefined): EnvoyAge {
  if (release === undefined || release.majorNumber > 1) return 'current'
  if (release.majorNumber < 1 || release.minorNumber < 36) return 'too-old'
  if (release.minorNumber < 37) return 'before-1.37'
  return release.minorNumber < 38 ? 'before-1.38' : 'current'
}

/** The resources for Envoys of this age. What needs no change stays the same object. */
export function resourcesFor(age: Exclude<EnvoyAge, 'too-old'>, resources: EnvoyResources): EnvoyResources {
  if (age === 'current') return resources
  const { clusters, listeners, routes } = resources
  const bufferBytes = age === 'before-1.37' ? largestHeldBody(routes) : 0
  return {
    ...resources,
    clusters: mapSome(clusters, withoutSelectedHost),
    listeners: mapSome(listeners, listener => olderListener(listener, bufferBytes)),
    routes: mapSome(routes, withPlainBodies),
  }
}

/** Before 1.38 override_host tells nobody which endpoint it took. Our fleet has that from the access log. */
function withoutSelectedHost(cluster: JsonObject): JsonObject {
  return edited(cluster, typeName('load_balancing_policies.override_host.v3.OverrideHost'), policy => {
    const { selectedHostKey, ...rest } = policy
    return selectedHostKey === undefined ? policy : rest
  })
}

/**
 * Before 1.38 ext_proc takes content-length away from every body that it sends us: upstreams get it chunked. Before 1.37 a held body
 * stalls at the buffer of its connection (HTTP/1) or stream (HTTP/2), whatever its route says.
 */
function olderListener(listener: JsonObject, bufferBytes: number): JsonObject {
  let looks = false
  const result = edited(
    listener,
    typeName('filters.network.http_connection_manager.v3.HttpConnectionManager'),
    manager => {
      const filters = (manager['httpFilters'] ?? []) as JsonObject[]
      if (!filters.some(filter => filter['name'] === EXT_PROC_FILTER)) return manager
      looks = true
      const changed = { ...manager, httpFilters: filters.map(withoutContentLength) }
      if (bufferBytes === 0) return changed
      const initialStreamWindowSize = Math.min(bufferBytes, LARGEST_WINDOW)
      const http2 = (manager['http2ProtocolOptions'] ?? {}) as JsonObject
      return { ...changed, http2ProtocolOptions: { ...http2, initialStreamWindowSize } }
    },
  )
  if (!looks || bufferBytes === 0) return result
  return { ...result, perConnectionBufferLimitBytes: Math.min(bufferBytes, LARGEST_BUFFER) }
}

function withoutContentLength(filter: JsonObject): JsonObject {
  return edited(filter, typeName('filters.http.ext_proc.v3.ExternalProcessor'), settings => {
    const { allowContentLengthHeader, ...rest } = settings
    return allowContentLengthHeader === undefined ? settings : rest
  })
}

/** RFC 9113 §6.9.1 */
const LARGEST_WINDOW = 0x7fff_ffff
const LARGEST_BUFFER = 0xffff_ffff

/** Bytes that the routes of ours let a request hold at most. */
function largestHeldBody(routes: readonly JsonObject[]): number {
  let largest = 0
  visit(routes, object => {
    const filters = object['typedPerFilterConfig'] as JsonObject | undefined
    if (filters?.[EXT_PROC_FILTER] === undefined) return
    largest = Math.max(largest, Number(object['requestBodyBufferLimit'] ?? 0))
  })
  return largest
}

/**
 * Before 1.37 a direct response has no `body_format`, and in 1.37 it is text/plain always: its text becomes the body, unless it has
 * commands in it.
 */
function withPlainBodies(routes: JsonObject): JsonObject {
  return mapObjects(routes, route => {
    const response = route['directResponse'] as JsonObject | undefined
    if (response === undefined) return route
    const { bodyFormat, ...rest } = response
    const { textFormatSource, contentType } = (bodyFormat ?? {}) as { [key: string]: JsonValue | undefined }
    const text = (textFormatSource as JsonObject | undefined)?.['inlineString']
    if (typeof text !== 'string' || /%/.test(text.replaceAll('%%', ''))) return route
    const header = {
      header: { key: 'content-type', value: typeof contentType === 'string' ? contentType : 'text/plain' },
      appendAction: 'OVERWRITE_IF_EXISTS_OR_ADD',
    }
    const headers = (route['responseHeadersToAdd'] ?? []) as JsonObject[]
    return {
      ...route,
      directResponse: { ...rest, body: { inlineString: text.replaceAll('%%', '%') } },
      responseHeadersToAdd: [...headers, header],
    }
  })
}

function typeName(name: string): string {
  return `type.googleapis.com/envoy.extensions.${name}`
}

/** Applies `change` to every message of a type inside. */
function edited(resource: JsonObject, type: string, change: (message: JsonObject) => JsonObject): JsonObject {
  return mapObjects(resource, object => (object['@type'] === type ? change(object) : object))
}

/** Applies `change` to an object and all within, innermost first; an object in which nothing changes stays the same. */
function mapObjects(object: JsonObject, change: (object: JsonObject) => JsonObject): JsonObject {
  let copy: Record<string, JsonValue> | undefined
  for (const [key, value] of Object.entries(object)) {
    const next = mapValue(value, change)
    if (next !== value) (copy ??= { ...object })[key] = next
  }
  return change(copy ?? object)
}

function mapValue(value: JsonValue, change: (object: JsonObject) => JsonObject): JsonValue {
  if (value === null || typeof value !== 'object') return value
  if (!Array.isArray(value)) return mapObjects(value, change)
  return mapSome(value, item => mapValue(item, change)) as JsonValue[]
}

function visit(objects: readonly JsonObject[], see: (object: JsonObject) => void): void {
  for (const object of objects) {
    mapObjects(object, each => {
      see(each)
      return each
    })
  }
}

/** As `Array.map`; the same array when nothing changes. */
function mapSome<T>(items: readonly T[], change: (item: T) => T): readonly T[] {
  const result = items.map(change)
  return result.every((item, index) => item === items[index]) ? items : result
}
