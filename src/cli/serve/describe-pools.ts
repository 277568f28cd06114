import { EndpointState } from '../../inference/endpoint-table.ts'
import type { PoolKeeper } from '../../inference/pool-keeper.ts'
import type { Metrics, Sample } from '../../telemetry/metrics.ts'

/** What is known of the load of a pool's endpoints: of those that were scraped lately. */
interface PoolLoads {
  readonly ready: number
  readonly fresh: readonly {
    readonly address: string
    readonly kvUsage: number
    readonly waiting: number
    readonly running: number
  }[]
}

type Load = 'kvUsage' | 'waiting' | 'running'
const LOADS: readonly (readonly [name: string, load: Load, help: string])[] = [
  ['kv_cache_utilization', 'kvUsage', 'share of the KV cache in use'],
  ['queue_size', 'waiting', 'requests waiting'],
  ['running_requests', 'running', 'requests running'],
]

/**
 * Averages and spreads over a pool's endpoints, as of the moment at which they are asked for. Endpoints whose load is not known, or was known too
 * long ago, do not count. With `compat` under llm-d's names too, whose pools have no namespace unless two have the same name.
 */
export function describePools(metrics: Metrics, pools: () => ReadonlyMap<string, PoolKeeper>, compat: boolean): void {
  const now = () => Date.now()
  const gauge = (
    name: string,
    help: string,
    labels: readonly string[],
    read: (pool: string, keeper: PoolKeeper) => Sample[],
  ) => {
    metrics.gauge(`signalbox_pool_${name}`, help, ['pool', ...labels], () =>
      [...pools()].flatMap(([pool, keeper]) => read(pool, keeper)),
    )
    if (!compat) return
    metrics.gauge(`llm_d_epp_${name}`, help, ['name', ...labels], () => {
      const shown = shownNames(pools().keys())
      return [...pools()].flatMap(([pool, keeper]) => read(shown.get(pool)!, keeper))
    })
  }
  for (const [name, load, what] of LOADS) {
    const values = (keeper: PoolKeeper) => loadsOf(keeper, now()).fresh.map(endpoint => endpoint[load])
    gauge(`average_${name}`, `Average of the pool's endpoints: ${what}`, [], (pool, keeper) => [
      { labels: [pool], value: average(values(keeper)) },
    ])
    gauge(`std_dev_${name}`, `Standard deviation among the pool's endpoints: ${what}`, [], (pool, keeper) => [
      { labels: [pool], value: deviation(values(keeper)) },
    ])
  }
  gauge('ready_endpoints', 'Endpoints that can be picked', [], (pool, keeper) => [
    { labels: [pool], value: loadsOf(keeper, now()).ready },
  ])
  gauge('per_endpoint_queue_size', 'Requests waiting', ['model_server_endpoint'], (pool, keeper) => {
    const names = new Map(keeper.plan.endpoints.map(({ address, pod }) => [address, pod ?? address]))
    return loadsOf(keeper, now()).fresh.map(({ address, waiting }) => ({
      labels: [pool, names.get(address) ?? address],
      value: waiting,
    }))
  })
}

/** `namespace/name` → what is shown of it. */
export function shownNames(pools: Iterable<string>): ReadonlyMap<string, string> {
  const names = Array.from(pools, pool => [pool, pool.slice(pool.indexOf('/') + 1)] as const)
  const count = (name: string) => names.filter(([, other]) => other === name).length
  return new Map(names.map(([pool, name]) => [pool, count(name) > 1 ? pool : name]))
}

function loadsOf({ table, plan }: PoolKeeper, nowMs: number): PoolLoads {
  const ready = [...table.live.subarray(0, table.liveCount)].filter(
    slot => table.endpointState[slot] === EndpointState.READY,
  )
  const fresh = ready
    .filter(slot => table.age(slot, nowMs) <= plan.scrape.staleMs)
    .map(slot => ({
      address: table.address(slot)!,
      kvUsage: table.kvUsage[slot]!,
      waiting: table.waiting[slot]!,
      running: table.running[slot]!,
    }))
  return { ready: ready.length, fresh }
}

function average(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length
}

function deviation(values: readonly number[]): number {
  const mean = average(values)
  return Math.sqrt(average(values.map(value => (value - mean) ** 2)))
}
