import type { EndpointSnapshot } from '../../inference/pool-keeper.ts'
import type { Metrics, Sample } from '../../telemetry/metrics.ts'
import { Figure } from '../../threads/thread-figures.ts'
import type { Threads } from '../../threads/threads.ts'
import { describeFlow } from './describe-flow.ts'
import { describeScrapes } from './describe-scrapes.ts'
import type { Scrapers } from './scrapers.ts'

export interface MetricSources {
  readonly threads: Threads
  readonly scrapers: Scrapers
}

/** The families of the metrics page. What threads count is summed up. */
export function describeMetrics(metrics: Metrics, { threads, scrapers }: MetricSources): void {
  const { totals, figures } = threads
  metrics.counter('signalbox_requests_routed_total', 'Requests sent on, by Envoy cluster', ['cluster'], () =>
    samples(totals.routedTo),
  )
  metrics.counter(
    'signalbox_requests_refused_total',
    'Requests answered with an error of ours, by error code',
    ['code'],
    () => samples(totals.refusedWith),
  )
  metrics.counter('signalbox_requests_answered_total', 'Requests answered by ourselves, by kind', ['kind'], () =>
    samples(totals.answeredWith),
  )
  metrics.counter(
    'signalbox_requests_fell_back_total',
    'Requests served by another endpoint than the picked one',
    [],
    () => one(totals.fellBack),
  )
  metrics.counter('signalbox_ext_proc_streams_total', 'ext_proc streams', [], () =>
    one(figures.sum(Figure.STREAMS_TOTAL)),
  )
  metrics.gauge('signalbox_ext_proc_open_streams', 'ext_proc streams that are open', [], () =>
    one(figures.sum(Figure.OPEN_STREAMS)),
  )
  metrics.gauge('signalbox_ext_proc_open_exchanges', 'Exchanges that are open', [], () =>
    one(figures.sum(Figure.OPEN_EXCHANGES)),
  )
  metrics.gauge('signalbox_ext_proc_held_bytes', 'Request bytes held', [], () => one(threads.budget.heldByAll))

  describeThreads(metrics, threads)
  describeFlow(metrics, threads.keeper)

  const endpointGauge = (name: string, help: string, value: (endpoint: EndpointSnapshot) => number) =>
    metrics.gauge(name, help, ['pool', 'endpoint'], () =>
      [...threads.keeper.pools].flatMap(([name, pool]) =>
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
  describeScrapes(metrics, scrapers, () => threads.keeper.pools)
}

function describeThreads(metrics: Metrics, threads: Threads): void {
  const perThread = (value: (thread: (typeof threads.threads)[number]) => number) => () =>
    threads.threads.map(thread => ({ labels: [String(thread.column)], value: value(thread) }))
  const figure = (which: Figure) => perThread(({ column }) => threads.figures.get(column, which))
  metrics.gauge(
    'signalbox_thread_up',
    '1 when the data path thread serves',
    ['thread'],
    perThread(thread => (threads.isLive(thread) ? 1 : 0)),
  )
  metrics.gauge(
    'signalbox_thread_utilisation',
    'Share of the last second in which the event loop was busy',
    ['thread'],
    figure(Figure.UTILISATION),
  )
  metrics.gauge('signalbox_thread_connections', 'Open connections', ['thread'], figure(Figure.CONNECTIONS))
  metrics.gauge('signalbox_thread_open_streams', 'Open streams', ['thread'], figure(Figure.OPEN_STREAMS))
  metrics.gauge('signalbox_thread_heap_bytes', 'Heap in use', ['thread'], figure(Figure.HEAP_BYTES))
  metrics.counter('signalbox_thread_streams_total', 'ext_proc streams', ['thread'], figure(Figure.STREAMS_TOTAL))
  metrics.counter(
    'signalbox_worker_restarts_total',
    'Data path threads that died and were replaced',
    ['thread'],
    perThread(thread => thread.restarts),
  )
  metrics.counter('signalbox_connections_shed_total', 'Connections that overloaded threads shed', [], () =>
    one(threads.shed),
  )
}

function samples(counts: ReadonlyMap<string, number>): Sample[] {
  return Array.from(counts, ([label, value]) => ({ labels: [label], value }))
}

function one(value: number): Sample[] {
  return [{ labels: [], value }]
}
