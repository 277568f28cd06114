import type { PoolKeeper } from '../../inference/pool-keeper.ts'
import type { Metrics, Sample } from '../../telemetry/metrics.ts'
import type { Scrapers } from './scrapers.ts'

/** Endpoints of a pool whose ages are shown one by one: the oldest ones. Of the others it is enough that they are younger. */
const MOST_AGES = 100

/** Families that tell how endpoints are read, and how good what is known of them is. */
export function describeScrapes(
  metrics: Metrics,
  scrapers: Scrapers,
  pools: () => Iterable<[string, PoolKeeper]>,
): void {
  metrics.counter('signalbox_scrapes_total', 'Good scrapes', ['pool'], () =>
    scrapers.stats().map(([pool, { good }]) => ({ labels: [pool], value: good })),
  )
  metrics.counter('signalbox_scrape_failures_total', 'Failed scrapes', ['pool'], () =>
    scrapers.stats().map(([pool, { failed }]) => ({ labels: [pool], value: failed })),
  )
  const bySignal = (which: 'missing' | 'invalid') => () =>
    scrapers
      .stats()
      .flatMap(([pool, stats]) => Array.from(stats[which], ([signal, value]) => ({ labels: [pool, signal], value })))
  metrics.counter(
    'signalbox_scrape_missing_total',
    'Good scrapes that lacked something of the load, or had it as no number',
    ['pool', 'signal'],
    bySignal('missing'),
  )
  metrics.counter(
    'signalbox_scrape_invalid_total',
    'Good scrapes with a value that makes no sense: NaN, infinite, negative, a share above 1',
    ['pool', 'signal'],
    bySignal('invalid'),
  )
  const now = () => Date.now()
  const perPool = (value: (ages: readonly Sample[], pool: PoolKeeper) => number) => (): Sample[] =>
    Array.from(pools(), ([name, pool]) => ({ labels: [name], value: value(agesOf(name, pool, now()), pool) }))
  metrics.gauge(
    'signalbox_endpoint_metrics_age_seconds',
    `Age of what is known of the endpoint's load; of the ${MOST_AGES} oldest of each pool, +Inf where nothing is known`,
    ['pool', 'endpoint'],
    () => [...pools()].flatMap(([name, pool]) => agesOf(name, pool, now()).slice(0, MOST_AGES)),
  )
  metrics.gauge(
    'signalbox_pool_metrics_age_seconds_max',
    'Age of what is known of the load of the endpoint of which it is oldest',
    ['pool'],
    perPool(ages => ages[0]?.value ?? 0),
  )
  metrics.gauge(
    'signalbox_pool_stale_endpoints',
    'Endpoints whose load is not known, or was known too long ago',
    ['pool'],
    perPool((ages, pool) => ages.filter(({ value }) => value * 1000 > pool.plan.scrape.staleMs).length),
  )
}

/** The oldest first. */
function agesOf(name: string, { table }: PoolKeeper, now: number): Sample[] {
  const ages = Array.from(table.live.subarray(0, table.liveCount), slot => ({
    labels: [name, table.address(slot)!],
    value: table.age(slot, now) / 1000,
  }))
  return ages.sort((a, b) => (a.value === b.value ? 0 : b.value - a.value))
}
