import type { Decider } from '../extproc/decider.ts'
import type { StreamHeaders } from '../grpc/transport.ts'
import type { EntryDecider } from './entry-decider.ts'
import { NamedPools } from './named-pools.ts'
import { PoolChooser } from './pool-chooser.ts'
import type { GatewayPoolPlan } from './plan.ts'

/** gRPC initial metadata by which a gateway names the pool of a stream (`ExtProcOverrides.grpc_initial_metadata`): `namespace/name`. */
const POOL_METADATA = 'x-signalbox-pool'

/** A pool and who decides for it. */
export interface GatewayPool {
  readonly plan: GatewayPoolPlan
  readonly decider: EntryDecider
}

/**
 * Which pool a stream of a gateway that we don't configure is for. In this order: the pool that its gRPC metadata name; the pool that the
 * first message's attributes name (./named-pools.ts); the pool whose Service it was opened to, by its `:authority`; among those that share
 * a Service, the pool that the first message's metadata name; the only pool that there is.
 */
export class GatewayStreams {
  readonly #byName = new Map<string, Decider>()
  /** `name.namespace:port` and `name.namespace` of a Service → its pools' decider. */
  readonly #byService = new Map<string, Decider>()
  /** Of streams that say nothing before their first message. */
  #other: Decider | undefined

  constructor(pools: readonly GatewayPool[]) {
    const services = new Map<string, GatewayPool[]>()
    for (const pool of pools) {
      const { service, port } = pool.plan
      this.#byName.set(pool.plan.pool, pool.decider)
      if (service === undefined) continue
      for (const key of [service, `${service}:${port}`]) services.set(key, [...(services.get(key) ?? []), pool])
    }
    if (pools.length === 0) return
    const named = new NamedPools(pools)
    for (const [key, sharing] of services) this.#byService.set(key, new PoolChooser(pools, named, sharing))
    this.#other = new PoolChooser(pools, named, pools)
  }

  decider(headers: StreamHeaders): Decider | undefined {
    const named = headers[POOL_METADATA]
    if (named !== undefined) return this.#byName.get(Array.isArray(named) ? named[0]! : named)
    if (this.#byName.size === 1) return this.#other
    const authority = headers[':authority']
    return (typeof authority === 'string' ? this.#ofService(authority) : undefined) ?? this.#other
  }

  /** `name.namespace.svc.cluster.local:port`, shorter, or Istio's name for a cluster: `outbound|port|subset|host`. */
  #ofService(authority: string): Decider | undefined {
    const [, clusterPort, , clusterHost] = authority.split('|')
    const [host = '', hostPort] = (clusterHost ?? authority).split(':')
    const [name, namespace] = host.split('.')
    const service = `${name}.${namespace}`
    return this.#byService.get(`${service}:${clusterPort ?? hostPort}`) ?? this.#byService.get(service)
  }
}
