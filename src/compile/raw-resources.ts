import type { JsonObject } from '@bufbuild/protobuf'
import type { EnvoyResources } from '../config/envoy-resources.ts'
import type { Problem } from '../config/problem.ts'
import type { RawResource } from '../config/read-document.ts'
import { ClusterSchema } from '../gen/envoy/config/cluster/v3/cluster_pb.ts'
import { ClusterLoadAssignmentSchema } from '../gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import { ListenerSchema } from '../gen/envoy/config/listener/v3/listener_pb.ts'
import { RouteConfigurationSchema } from '../gen/envoy/config/route/v3/route_pb.ts'
import { SecretSchema } from '../gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts'

type Slot = Exclude<keyof EnvoyResources, 'others'>
type Generated = { readonly [S in Slot]: readonly object[] }

const SLOTS: ReadonlyMap<string, Slot> = new Map<string, Slot>([
  [ClusterSchema.typeName, 'clusters'],
  [ClusterLoadAssignmentSchema.typeName, 'endpoints'],
  [ListenerSchema.typeName, 'listeners'],
  [RouteConfigurationSchema.typeName, 'routes'],
  [SecretSchema.typeName, 'secrets'],
])

/** Joins what users wrote for Envoy themselves to what was generated. A name that is taken is an error. */
export function addRaw(generated: Generated, raw: readonly RawResource[], problems: Problem[]): EnvoyResources {
  const result: Record<Slot, JsonObject[]> & { others: JsonObject[] } = {
    clusters: asJson(generated.clusters),
    endpoints: asJson(generated.endpoints),
    listeners: asJson(generated.listeners),
    routes: asJson(generated.routes),
    secrets: asJson(generated.secrets),
    others: [],
  }
  for (const item of raw) {
    const slot = SLOTS.get(item.type)
    if (slot === undefined) {
      result.others.push(item.resource)
      continue
    }
    const nameField = slot === 'endpoints' ? 'clusterName' : 'name'
    if (generated[slot].some(other => Reflect.get(other, nameField) === item.name)) {
      const message = `Signalbox generates a resource "${item.name}" of this type itself: choose another name`
      problems.push({ severity: 'error', code: 'duplicate-object', message, position: item.origin.locate(['name']) })
      continue
    }
    const { '@type': _, ...resource } = item.resource
    result[slot].push(resource)
  }
  return result
}

/** Generated messages are plain JSON already; only their types are narrower. */
function asJson(resources: readonly object[]): JsonObject[] {
  return [...resources] as JsonObject[]
}
