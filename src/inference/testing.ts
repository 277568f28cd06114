/** Plans, pages and hashers for this folder's tests and benchmarks. */
import { createReplicaMetrics, type ReplicaMetrics } from './replica-metrics.ts'
import type { EndpointPlan, PoolPlan, SchedulingPlan, ScrapePlan } from './pool-plan.ts'
import { ALONE } from './endpoint-slots.ts'
import type { ReleaseBy } from './endpoint-table.ts'
import { type EndpointSnapshot, PoolKeeper } from './pool-keeper.ts'
import { Pool, type PickRequest } from './pool.ts'
import type { ScrapedPool } from './scraper.ts'
import { PrefixHasher } from './prefix-hasher.ts'

export function endpoints(addresses: readonly string[]): EndpointPlan[] {
  return addresses.map(address => ({ address, labels: {} }))
}

/** `10.0.x.y:8000`, all different. */
export function addresses(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `10.0.${i >> 8}.${i & 255}:8000`)
}

export interface PoolPlanChanges {
  readonly scheduling?: Partial<SchedulingPlan>
  readonly scrape?: Partial<ScrapePlan>
}

/** Weighted shares, which know no time: for tests of all else, whose clocks stand still. */
const SHARES: SchedulingPlan['scorers'] = [
  { type: 'queue-scorer', weight: 2 },
  { type: 'running-requests-size-scorer', weight: 1 },
  { type: 'kv-cache-utilization-scorer', weight: 1 },
  { type: 'lora-affinity-scorer', weight: 2 },
  { type: 'prefix-cache-scorer', weight: 5 },
]

export function poolPlan(addresses: readonly string[], changes: PoolPlanChanges = {}): PoolPlan {
  return {
    name: 'default/pool',
    cluster: 'pool',
    endpoints: endpoints(addresses),
    failOpen: false,
    rejectUnknownModels: false,
    rewrites: [],
    scheduling: {
      scorers: SHARES,
      maxEndpoints: 1,
      maxQueue: 0,
      prefixBlockBytes: 256,
      prefixBlocksPerEndpoint: 8192,
      ...changes.scheduling,
    },
    scrape: {
      path: '/metrics',
      intervalMs: 50,
      timeoutMs: 1000,
      staleMs: 1000,
      modelsIntervalMs: 10_000,
      ...changes.scrape,
    },
  }
}

export function metrics(changes: Partial<ReplicaMetrics>): ReplicaMetrics {
  return { ...createReplicaMetrics(), ...changes }
}

/** Both sides of a pool, on one thread. */
export class LocalPool extends Pool implements ScrapedPool {
  readonly keeper: PoolKeeper

  constructor(plan: PoolPlan, { releaseBy }: { readonly releaseBy: ReleaseBy }) {
    const keeper: PoolKeeper = new PoolKeeper(plan, { releaseBy, threads: 2, onModels: () => this.adopted() }, ALONE)
    super(keeper.share(), { releaseBy, thread: 1 })
    this.keeper = keeper
  }

  update(plan: PoolPlan): void {
    this.keeper.update(plan, ALONE)
    this.adopt(this.keeper.share())
  }

  adopted(): void {
    this.adoptModels(this.keeper.models())
  }

  releaseAddress(address: string): void {
    this.keeper.releaseAddress(address)
  }

  takeRelist(): boolean {
    return this.keeper.takeRelist()
  }

  scrapeBegan(slot: number): void {
    this.keeper.scrapeBegan(slot)
  }

  scrapeSucceeded(slot: number, generation: number, page: ReplicaMetrics, beganAt: number): void {
    this.keeper.scrapeSucceeded(slot, generation, page, beganAt)
  }

  scrapeFailed(...failure: Parameters<PoolKeeper['scrapeFailed']>): void {
    this.keeper.scrapeFailed(...failure)
  }

  fadeUnseen(now: number): void {
    this.keeper.fadeUnseen(now)
  }

  listed(...list: Parameters<PoolKeeper['listed']>): void {
    this.keeper.listed(...list)
  }

  snapshot(): EndpointSnapshot[] {
    return this.keeper.snapshot()
  }
}

/** A whole good scrape of one endpoint at `at` (Unix ms). */
export function scrape(pool: ScrapedPool, slot: number, changes: Partial<ReplicaMetrics>, at: number): void {
  pool.scrapeBegan(slot)
  pool.scrapeSucceeded(slot, pool.table.generation[slot]!, metrics(changes), at)
}

export function request(changes: Partial<PickRequest> = {}): PickRequest {
  return { model: 'm', prefix: undefined, promptBytes: 0, subset: undefined, nowMs: 1000, ...changes }
}

export function hasherOf(prompt: string, blockBytes = 256, maxBytes = 16 * 1024): PrefixHasher {
  const hasher = new PrefixHasher()
  hasher.reset(blockBytes, maxBytes)
  const bytes = Buffer.from(prompt)
  hasher.update(bytes, 0, bytes.length)
  return hasher
}
