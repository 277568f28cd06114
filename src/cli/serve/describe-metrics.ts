import type { ExtProcService } from '../../extproc/service.ts'
import type { TransportServer } from '../../grpc/transport.ts'
import type { EndpointSnapshot, Pool } from '../../inference/pool.ts'
import type { Outcomes } from '../../pipeline/outcomes.ts'
import type { Metrics, Sample } from '../../telemetry/metrics.ts'
import type { Scrapers } from './scrapers.ts'

export interface MetricSources {
  readonly outcomes: Outcomes
  readonly pools: ReadonlyMap<string, Pool>
  readonly service: ExtProcService
  readonly transport: TransportServer
  readonly scrapers: Scrapers
}

/** The families of the metrics page. */
export function describeMetrics(
  metrics: Metrics,
  { outcomes, pools, service, transport, scrapers }: MetricSources,
): void {
  metrics.counter('signalbox_requests_routed_total', 'Requests sent on, by Envoy cluster', ['cluster'], () =>
    samples(outcomes.routedTo),
  )
  metrics.counter(
    'signalbox_requests_refused_total',
    'Requests answered with an error of ours, by error code',
    ['code'],
    () => samples(outcomes.refusedWith),
  )
  metrics.counter('signalbox_requests_answered_total', 'Requests answered by ourselves, by kind', ['kind'], () =>
    samples(outcomes.answeredWith),
  )
  metrics.counter(
    'signalbox_requests_fell_back_total',
    'Requests served by another endpoint than the picked one',
    [],
    () => one(outcomes.fellBack),
  )
  metrics.counter('signalbox_ext_proc_streams_total', 'ext_proc streams', [], () => one(service.streams))
  metrics.gauge('signalbox_ext_proc_open_streams', 'ext_proc streams that are open', [], () => one(transport.streams))
  metrics.gauge('signalbox_ext_proc_open_exchanges', 'Exchanges that are open', [], () => one(service.openExchanges))
  metrics.gauge('signalbox_ext_proc_held_bytes', 'Request bytes held', [], () => one(service.heldBytes))

  const endpointGauge = (name: string, help: string, value: (endpoint: EndpointSnapshot) => number) =>
    metrics.gauge(name, help, ['pool', 'endpoint'], () =>
      [...pools].flatMap(([name, pool]) =>
        pool.snapshot().map(endpoint => ({ labels: [name, endpoint.address], value: value(endpoint) })),
      ),
    )
  endpointGauge('signalbox_endpoint_ready', '1 when the endpoint can be picked', endpoint =>
    endpoint.state === 'ready' ? 1 : 0,
  )
  endpointGauge(
    'signalbox_endpoint_in_flight',
    'Requests decided for the endpoint and not known to be over',
    endpoint => endpoint.inFlight,
  )
  endpointGauge('signalbox_endpoint_waiting', 'Requests waiting at the last good scrape', endpoint => endpoint.waiting)
  endpointGauge('signalbox_endpoint_running', 'Requests running at the last good scrape', endpoint => endpoint.running)
  endpointGauge(
    'signalbox_endpoint_kv_cache_usage',
    'Share of the KV cache in use at the last good scrape',
    endpoint => endpoint.kvUsage,
  )
  metrics.counter('signalbox_scrapes_total', 'Good scrapes', ['pool'], () =>
    scrapers.stats().map(([pool, { good }]) => ({ labels: [pool], value: good })),
  )
  metrics.counter('signalbox_scrape_failures_total', 'Failed scrapes', ['pool'], () =>
    scrapers.stats().map(([pool, { failed }]) => ({ labels: [pool], value: failed })),
  )
}

function samples(counts: ReadonlyMap<string, number>): Sample[] {
  return Array.from(counts, ([label, value]) => ({ labels: [label], value }))
}

function one(value: number): Sample[] {
  return [{ labels: [], value }]
}
