import { FLOW_OUTCOMES } from '../../inference/flow-control/flow-outcome.ts'
import type { FlowFigures } from '../../inference/flow-control/flow-keeper.ts'
import { WAIT_BUCKETS, type WaitFigures } from '../../inference/flow-control/flow-memory.ts'
import type { PlanKeeper } from '../../pipeline/plan-keeper.ts'
import type { HistogramSample, Metrics } from '../../telemetry/metrics.ts'
import { describeCapacity } from './describe-capacity.ts'
import { describeRevocations } from './describe-revocations.ts'

type Band = FlowFigures['bands'][number]

/** The families of pools with flow control (epp.md §5.1). Who sent what is no label: clients name themselves. */
export function describeFlow(metrics: Metrics, keeper: PlanKeeper): void {
  const flows = (): [string, FlowFigures][] =>
    [...keeper.pools].flatMap(([name, pool]) => {
      const figures = pool.flowFigures(Date.now())
      return figures === undefined ? [] : [[name, figures]]
    })
  const perBand =
    <T>(read: (band: Band, labels: readonly [string, string]) => readonly T[]) =>
    (): T[] =>
      flows().flatMap(([pool, { bands }]) => bands.flatMap(band => read(band, [pool, String(band.plan.priority)])))
  const bandGauge = (name: string, help: string, value: (band: Band) => number) =>
    metrics.gauge(
      name,
      help,
      ['pool', 'priority'],
      perBand((band, labels) => [{ labels, value: value(band) }]),
    )
  bandGauge('signalbox_flow_control_queue_size', 'Requests that wait', ({ requests }) => requests)
  bandGauge('signalbox_flow_control_queue_bytes', 'Bytes of the bodies of requests that wait', ({ bytes }) => bytes)
  const names = { prefix: 'signalbox_flow_control', pool: 'pool' }
  describeCapacity(metrics, { ...names, band: ['pool', 'priority'] }, flows)
  metrics.gauge(
    'signalbox_flow_control_stale_endpoints',
    'Endpoints that count as full because nothing is known of them',
    ['pool'],
    () => flows().map(([pool, { stale }]) => ({ labels: [pool], value: stale })),
  )
  metrics.counter(
    'signalbox_flow_control_requests_total',
    'Requests that came to a queue, by what became of them',
    ['pool', 'priority', 'outcome'],
    perBand(({ outcomes }, labels) =>
      outcomes.map((value, outcome) => ({ labels: [...labels, FLOW_OUTCOMES[outcome]!], value })),
    ),
  )
  metrics.histogram(
    'signalbox_flow_control_request_queue_duration_seconds',
    'How long requests stood in a queue',
    ['pool', 'priority', 'outcome'],
    WAIT_BUCKETS,
    perBand(({ sent, dropped }, labels) => [
      histogram([...labels, 'Dispatched'], sent),
      histogram([...labels, 'NotDispatched'], dropped),
    ]),
  )
  describeRevocations(metrics, names, flows)
}

function histogram(labels: readonly string[], { buckets, sumSeconds }: WaitFigures): HistogramSample {
  return { labels, buckets, sum: sumSeconds }
}
