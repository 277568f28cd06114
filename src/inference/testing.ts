/** Plans, pages and hashers for this folder's tests and benchmarks. */
import { createVllmMetrics, type VllmMetrics } from './metrics-parser.ts'
import type { EndpointPlan, PoolPlan, SchedulingPlan, ScrapePlan } from './pool-plan.ts'
import type { PickRequest, Pool } from './pool.ts'
import { PrefixHasher } from './prefix-hasher.ts'
import { DEFAULT_SCORERS } from './scheduling/scorers/registry.ts'

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

export function poolPlan(addresses: readonly string[], changes: PoolPlanChanges = {}): PoolPlan {
  return {
    name: 'default/pool',
    cluster: 'pool',
    endpoints: endpoints(addresses),
    failOpen: false,
    rejectUnknownModels: false,
    rewrites: [],
    scheduling: {
      scorers: DEFAULT_SCORERS,
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

export function metrics(changes: Partial<VllmMetrics>): VllmMetrics {
  return { ...createVllmMetrics(), ...changes }
}

/** A whole good scrape of one endpoint at `at` (Unix ms). */
export function scrape(pool: Pool, slot: number, changes: Partial<VllmMetrics>, at: number): void {
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
