import { isIP } from 'node:net'
import type { HttpRoute } from '../config/kinds/http-route.ts'
import { keyOf, problemAt } from '../config/object.ts'
import type { FieldPath, Problem } from '../config/problem.ts'
import type { ClusterJson } from '../gen/envoy/config/cluster/v3/cluster_pb.ts'
import type { ClusterLoadAssignmentJson } from '../gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import type { PoolPlan } from '../inference/pool-plan.ts'
import {
  type AppProtocol,
  balancedClusterJson,
  dnsClusterJson,
  type HostPort,
  loadAssignmentJson,
  poolClusterJson,
} from './envoy/clusters.ts'
import { backendCluster, serviceCluster } from './names.ts'
import type { ObjectIndex } from './object-index.ts'
import { canonicalHost } from './addresses.ts'
import { compilePool, type PoolDefaults, splitAddress } from './pools.ts'

/** What a backendRef leads to. */
export type Backend =
  | { readonly type: 'pool'; readonly cluster: string; readonly plan: PoolPlan }
  | { readonly type: 'cluster'; readonly cluster: string }
  | { readonly type: 'invalid'; readonly reason: string; readonly message: string }

interface BackendRef {
  readonly group: string
  readonly kind: string
  readonly name: string
  readonly namespace?: string | undefined
  readonly port?: number | undefined
}

const POOL_GROUPS = ['inference.networking.k8s.io', 'inference.networking.x-k8s.io']
const BACKEND_GROUP = 'signalbox.dev'

/** Resolves backendRefs, and remembers the clusters, endpoints and pools that they need. */
export class Backends {
  readonly clusters = new Map<string, ClusterJson>()
  readonly endpoints = new Map<string, ClusterLoadAssignmentJson>()
  readonly pools = new Map<string, PoolPlan>()
  readonly #objects: ObjectIndex
  readonly #problems: Problem[]
  readonly #defaults: (key: string) => PoolDefaults

  /** @param defaults those of a pool `namespace/name` */
  constructor(objects: ObjectIndex, problems: Problem[], defaults: (key: string) => PoolDefaults) {
    this.#defaults = defaults
    this.#objects = objects
    this.#problems = problems
  }

  /** A bad reference is a warning here and an `invalid` backend; requests to it get 500. */
  resolve(route: HttpRoute, ref: BackendRef, path: FieldPath): Backend {
    const backend = this.#find(route, ref)
    if (backend.type === 'invalid') {
      this.#problems.push(problemAt(route, 'warning', 'unresolved-reference', path, backend.message))
    }
    return backend
  }

  /** The pool's plan, with its cluster and endpoints; undefined when there is no such pool. */
  pool(key: string): PoolPlan | undefined {
    const known = this.pools.get(key)
    if (known !== undefined) return known
    const pool = this.#objects.get('InferencePool', key)
    if (pool === undefined) return undefined
    const plan = compilePool(this.#objects, pool, this.#problems, this.#defaults(key))
    this.pools.set(key, plan)
    this.clusters.set(plan.cluster, poolClusterJson(plan.cluster, pool.spec.appProtocol, plan.failOpen))
    const endpoints = plan.endpoints.map(endpoint => splitAddress(endpoint.address))
    this.endpoints.set(plan.cluster, loadAssignmentJson(plan.cluster, endpoints))
    return plan
  }

  #find(route: HttpRoute, ref: BackendRef): Backend {
    const namespace = ref.namespace ?? route.metadata.namespace
    const key = `${namespace}/${ref.name}`
    const from = { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: route.metadata.namespace }
    const { group, kind, name } = ref
    const isPool = kind === 'InferencePool' && POOL_GROUPS.includes(group)
    const isBackend = kind === 'SignalboxBackend' && group === BACKEND_GROUP
    const isService = kind === 'Service' && group === ''
    if (!isPool && !isBackend && !isService)
      return invalid('InvalidKind', `${kind} (group "${group}") can't be a backend${this.#groupHint(ref, namespace)}`)
    if (!this.#objects.granted(from, { group, kind, namespace, name }))
      return invalid('RefNotPermitted', `no ReferenceGrant in the namespace ${namespace} allows the ${kind} ${key}`)
    if (isPool) {
      const plan = this.pool(key)
      return plan === undefined
        ? invalid('BackendNotFound', `there is no InferencePool ${key}`)
        : { type: 'pool', cluster: plan.cluster, plan }
    }
    return isBackend ? this.#findBackend(key) : this.#findService(key, ref.port)
  }

  /** For a group that was left out or mistaken. */
  #groupHint({ kind, name }: BackendRef, namespace: string): string {
    const [group] = kind === 'InferencePool' ? POOL_GROUPS : kind === 'SignalboxBackend' ? [BACKEND_GROUP] : []
    if (group !== undefined) return `: it needs group: ${group}`
    return kind === 'Service' ? ': a Service has no group' : this.#kindHint(`${namespace}/${name}`)
  }

  /** For a kind that was left out or mistaken. */
  #kindHint(key: string): string {
    if (this.#objects.get('InferencePool', key) !== undefined)
      return `; for the InferencePool of this name write kind: InferencePool, group: ${POOL_GROUPS[0]}`
    if (this.#objects.get('SignalboxBackend', key) !== undefined)
      return `; for the SignalboxBackend of this name write kind: SignalboxBackend, group: ${BACKEND_GROUP}`
    return ''
  }

  #findBackend(key: string): Backend {
    const backend = this.#objects.get('SignalboxBackend', key)
    if (backend === undefined) return invalid('BackendNotFound', `there is no SignalboxBackend ${key}`)
    const cluster = backendCluster(key)
    const { appProtocol } = backend.spec
    const endpoints = backend.spec.endpoints.map(({ address, port }) => ({ host: canonicalHost(address), port }))
    if (endpoints.some(({ host }) => isIP(host) === 0))
      this.clusters.set(cluster, dnsClusterJson(cluster, appProtocol, endpoints))
    else this.#addBalanced(cluster, appProtocol, endpoints)
    return { type: 'cluster', cluster }
  }

  #findService(key: string, port: number | undefined): Backend {
    const service = this.#objects.get('Service', key)
    if (service === undefined) return invalid('BackendNotFound', `there is no Service ${key}${this.#kindHint(key)}`)
    if (port === undefined) return invalid('BackendNotFound', `the reference to Service ${key} needs a port`)
    const servicePort = service.spec.ports.find(item => item.port === port)
    if (servicePort === undefined) return invalid('BackendNotFound', `Service ${key} has no port ${port}`)
    const { appProtocol = 'http' } = servicePort
    if (appProtocol !== 'http' && appProtocol !== 'kubernetes.io/h2c')
      return invalid('UnsupportedProtocol', `Service ${key}: appProtocol ${appProtocol} is not supported`)
    const cluster = serviceCluster(key, port)
    this.#addBalanced(cluster, appProtocol, this.#serviceEndpoints(keyOf(service), servicePort.name))
    return { type: 'cluster', cluster }
  }

  #serviceEndpoints(key: string, portName: string | undefined): HostPort[] {
    const endpoints = new Map<string, HostPort>()
    for (const slice of this.#objects.all('EndpointSlice')) {
      const owner = slice.metadata.labels['kubernetes.io/service-name']
      if (slice.addressType === 'FQDN' || `${slice.metadata.namespace}/${owner}` !== key) continue
      const port = slice.ports.find(item => (item.name ?? '') === (portName ?? ''))?.port
      if (port == null) continue
      for (const { addresses, conditions } of slice.endpoints) {
        const address = addresses[0]
        if (conditions?.ready === false || address === undefined) continue
        const host = canonicalHost(address)
        endpoints.set(`${host} ${port}`, { host, port })
      }
    }
    return [...endpoints.values()]
  }

  #addBalanced(cluster: string, protocol: AppProtocol, endpoints: readonly HostPort[]): void {
    this.clusters.set(cluster, balancedClusterJson(cluster, protocol))
    this.endpoints.set(cluster, loadAssignmentJson(cluster, endpoints))
  }
}

function invalid(reason: string, message: string): Backend {
  return { type: 'invalid', reason, message }
}
