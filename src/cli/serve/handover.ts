import type { JsonObject } from '@bufbuild/protobuf'
import type { EnvoyResources } from '../../config/envoy-resources.ts'
import type { EndpointPlan, PoolPlan } from '../../inference/pool-plan.ts'
import type { Plan } from '../../pipeline/plan.ts'

/** A configuration: what the data path runs and what the data planes run. */
export interface Configured {
  readonly plan: Plan
  readonly envoy: EnvoyResources
}

export interface HandoverOptions {
  /** Runs a plan from now on; calls `inForce` once it decides every request. Throws (and changes nothing) when it can't. */
  readonly run: (plan: Plan, inForce: () => void) => void
  /** Sends resources to the data planes. */
  readonly send: (envoy: EnvoyResources) => void
  /** All data planes that are there have taken what was sent last. */
  readonly settled: () => boolean
  /** No data plane is configured by us: there is nobody to wait for, and a plan comes into force in one step. Default: there may be some. */
  readonly alone?: boolean
  /** Longest wait for that. Default 1,000 ms: a data plane that refuses or hangs must not stop the others. */
  readonly settleMs?: number
  /** How long what is gone stays known to data planes, for requests that were decided before. Default 1,000 ms. */
  readonly lingerMs?: number
}

const POLL_MS = 20
const SETTLE_MS = 1000
const LINGER_MS = 1000

/**
 * Changes endpoints and pools so that no request is decided for an endpoint that its data plane doesn't know (it would answer 503):
 *
 * 1. Data planes get new endpoints, and keep those that are gone as unhealthy (the picker may still name them, their own balancing
 *    does not take them). The picker goes on with the endpoints that were known before.
 * 2. Once the data planes have taken that, the picker goes over to the new endpoints.
 * 3. What is gone, whole pools included, is forgotten a moment later.
 *
 * Everything else of a plan runs at once, and data planes are told when it does: its entries must be known before anybody has their
 * routes.
 *
 * Changes that never cease, and come faster than data planes take them, hold up neither: endpoints that were sent `settleMs` ago are
 * taken for known, and what is gone is forgotten `settleMs` + `lingerMs` later.
 */
export class Handover {
  readonly #options: HandoverOptions
  #now: Configured | undefined
  /** Pool name → what is running. Pools that are gone linger here. */
  #running = new Map<string, PoolPlan>()
  /** Cluster → addresses that every data plane has. */
  #known = new Map<string, ReadonlySet<string>>()
  /** What was sent last, with everything that lingers. */
  #sent: EnvoyResources | undefined
  /** The first configuration that data planes have not taken yet, and when it is no longer waited for. */
  #oldest: { readonly configured: Configured; readonly deadline: number } | undefined
  /** Hosts that are gone: when they may be forgotten. */
  #leaving: ReadonlyMap<string, number> = new Map()
  #timer: NodeJS.Timeout | undefined

  constructor(options: HandoverOptions) {
    this.#options = options
  }

  /** Puts a configuration into force. @throws what `run` and `send` throw */
  take(next: Configured): void {
    const alone = this.#options.alone === true
    const first = this.#now === undefined
    const before = { sent: this.#sent, running: this.#running }
    const running = first || alone ? byName(next.plan.pools) : this.#interim(next.plan.pools)
    // `run` may throw, and may be done at once.
    let started = false
    let inForce = false
    const send = () => {
      inForce = true
      if (!started || this.#now !== next) return
      if (alone) return this.#send(next.envoy)
      this.#send(before.sent === undefined ? next.envoy : this.#lingering(next, before.sent, before.running))
      if (first) return this.#finish(next)
      this.#oldest ??= this.#waitedFor(next)
      this.#whenSettled(next)
    }
    this.#options.run(withPools(next.plan, running.values()), send)
    started = true
    clearTimeout(this.#timer)
    this.#now = next
    this.#running = running
    if (inForce) send()
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  /** The pools until the data planes know the new endpoints. `overdue`: those of before are no longer kept where all are new. */
  #interim(pools: readonly PoolPlan[], overdue = false): Map<string, PoolPlan> {
    const result = new Map(this.#running)
    for (const pool of pools) {
      const running = this.#running.get(pool.name)
      // No route of a data plane leads to a new pool before its cluster and endpoints are there.
      if (running === undefined) {
        result.set(pool.name, pool)
        continue
      }
      const known = this.#known.get(pool.cluster)
      const both = pool.endpoints.filter(({ address }) => known?.has(address) === true)
      result.set(pool.name, { ...pool, endpoints: both.length > 0 ? both : (overdue ? pool : running).endpoints })
    }
    return result
  }

  #waitedFor(configured: Configured) {
    return { configured, deadline: performance.now() + (this.#options.settleMs ?? SETTLE_MS) }
  }

  #whenSettled(next: Configured): void {
    this.#timer = setTimeout(() => {
      const { configured, deadline } = this.#oldest!
      const settled = this.#options.settled()
      if (!settled && performance.now() < deadline) return this.#whenSettled(next)
      const all = settled || configured === next
      this.#known = knownFrom(all ? next : configured)
      this.#running = all
        ? new Map([...this.#running, ...byName(next.plan.pools)])
        : this.#interim(next.plan.pools, true)
      this.#oldest = all ? undefined : this.#waitedFor(next)
      this.#options.run(withPools(next.plan, this.#running.values()), () => {})
      if (!all) return this.#whenSettled(next)
      this.#timer = setTimeout(() => this.#finish(next), this.#options.lingerMs ?? LINGER_MS)
    }, POLL_MS)
  }

  #finish(next: Configured): void {
    this.#running = byName(next.plan.pools)
    this.#known = knownFrom(next)
    this.#oldest = undefined
    this.#leaving = new Map()
    this.#options.run(next.plan, () => {
      if (this.#now === next) this.#send(next.envoy)
    })
  }

  /** The new resources, with the endpoints and clusters of pools that were there before and are not any more. */
  #lingering(
    { plan, envoy }: Configured,
    sent: EnvoyResources,
    running: ReadonlyMap<string, PoolPlan>,
  ): EnvoyResources {
    const { settleMs = SETTLE_MS, lingerMs = LINGER_MS } = this.#options
    const now = performance.now()
    const leaving = new Map<string, number>()
    const pools = new Map(plan.pools.map(pool => [pool.cluster, pool]))
    const before = new Map(sent.endpoints.map(assignment => [assignment['clusterName'], assignment]))
    let changed = false
    const endpoints = envoy.endpoints.map(assignment => {
      const cluster = nameOf(assignment, 'clusterName')
      const pool = pools.get(cluster)
      const old = before.get(cluster)
      if (pool === undefined || old === undefined) return assignment
      const wanted = new Set(hostsOf(assignment).map(addressKey))
      const gone = hostsOf(old).filter(host => {
        const key = addressKey(host)
        if (wanted.has(key)) return false
        const until = this.#leaving.get(`${cluster} ${key}`) ?? now + settleMs + lingerMs
        if (until < now) return false
        leaving.set(`${cluster} ${key}`, until)
        return true
      })
      if (gone.length === 0) return assignment
      changed = true
      const unhealthy = gone.map(host => ({ ...host, healthStatus: 'UNHEALTHY' }))
      return { ...assignment, endpoints: [{ lbEndpoints: [...hostsOf(assignment), ...unhealthy] }] }
    })
    this.#leaving = leaving
    const present = new Set(envoy.clusters.map(cluster => cluster['name']))
    const goneClusters = new Set(
      Array.from(running.values(), pool => pool.cluster).filter(cluster => !present.has(cluster)),
    )
    if (!changed && goneClusters.size === 0) return envoy
    return {
      ...envoy,
      clusters: [...envoy.clusters, ...sent.clusters.filter(cluster => goneClusters.has(nameOf(cluster, 'name')))],
      endpoints: [...endpoints, ...sent.endpoints.filter(each => goneClusters.has(nameOf(each, 'clusterName')))],
    }
  }

  #send(envoy: EnvoyResources): void {
    if (this.#sent === envoy) return
    this.#options.send(envoy)
    this.#sent = envoy
  }
}

function byName(pools: readonly PoolPlan[]): Map<string, PoolPlan> {
  return new Map(pools.map(pool => [pool.name, pool]))
}

function knownFrom({ plan }: Configured): Map<string, ReadonlySet<string>> {
  return new Map(plan.pools.map(({ cluster, endpoints }) => [cluster, addresses(endpoints)]))
}

function addresses(endpoints: readonly EndpointPlan[]): ReadonlySet<string> {
  return new Set(endpoints.map(({ address }) => address))
}

function withPools(plan: Plan, pools: Iterable<PoolPlan>): Plan {
  return { ...plan, pools: [...pools] }
}

function nameOf(resource: JsonObject, field: 'name' | 'clusterName'): string {
  const name = resource[field]
  return typeof name === 'string' ? name : ''
}

/** The endpoints of an assignment of ours (one locality). */
function hostsOf(assignment: JsonObject): readonly JsonObject[] {
  const localities = (assignment['endpoints'] ?? []) as readonly { readonly lbEndpoints?: readonly JsonObject[] }[]
  return localities.flatMap(locality => locality.lbEndpoints ?? [])
}

function addressKey(host: JsonObject): string {
  return JSON.stringify(host['endpoint'])
}
