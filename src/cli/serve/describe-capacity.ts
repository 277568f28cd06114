import type { FlowFigures } from '../../inference/flow-control/flow-keeper.ts'
import type { Metrics, Sample } from '../../telemetry/metrics.ts'

type Band = FlowFigures['bands'][number]

interface Names {
  readonly prefix: string
  /** The label that names a pool. */
  readonly pool: string
  /** Those of a band: this one, and `priority`. */
  readonly band: readonly string[]
}

/** How full pools with flow control are, and their queues (epp.md §5.1); `flows`: those pools. */
export function describeCapacity(
  metrics: Metrics,
  { prefix, pool, band }: Names,
  flows: () => readonly (readonly [string, FlowFigures])[],
): void {
  const ofBand = (name: string, help: string, value: (band: Band) => number) =>
    metrics.gauge(`${prefix}_capacity_utilization_${name}`, help, band, () =>
      flows().flatMap(([shown, { bands }]) =>
        bands.map(each => ({
          labels: band.map(label => (label === pool ? shown : String(each.plan.priority))),
          value: value(each),
        })),
      ),
    )
  ofBand('requests', 'Share of a band’s maxRequests that waits', ({ requests, plan }) => requests / plan.maxRequests)
  ofBand('bytes', 'Share of a band’s maxBytes that waits', ({ bytes, plan }) => bytes / plan.maxBytes)
  const ofAll = (
    name: string,
    help: string,
    cap: (figures: FlowFigures) => number | undefined,
    of: (band: Band) => number,
  ) =>
    metrics.gauge(`${prefix}_global_capacity_utilization_${name}`, help, [pool], () =>
      flows().flatMap(([shown, figures]): Sample[] => {
        const most = cap(figures)
        const all = figures.bands.reduce((sum, each) => sum + of(each), 0)
        return most === undefined ? [] : [{ labels: [shown], value: all / most }]
      }),
    )
  ofAll(
    'requests',
    'Share of flowControl.maxRequests that waits',
    ({ plan }) => plan.maxRequests,
    ({ requests }) => requests,
  )
  ofAll(
    'bytes',
    'Share of flowControl.maxBytes that waits',
    ({ plan }) => plan.maxBytes,
    ({ bytes }) => bytes,
  )
  metrics.gauge(`${prefix}_pool_saturation`, 'How full the pool is: 1 = as full as it should be', [pool, 'stage'], () =>
    flows().flatMap(([shown, { saturation }]) =>
      Object.entries(saturation).map(([stage, value]) => ({ labels: [shown, stage], value })),
    ),
  )
}
