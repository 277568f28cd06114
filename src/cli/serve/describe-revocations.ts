import type { FlowFigures } from '../../inference/flow-control/flow-keeper.ts'
import { CONFIRMATION_BUCKETS, type RevocationFigures } from '../../inference/flow-control/revocation-memory.ts'
import type { Metrics } from '../../telemetry/metrics.ts'

interface Names {
  readonly prefix: string
  /** The label that names a pool. */
  readonly pool: string
}

/** The families of pools whose flow control calls requests back (epp.md §5.1); `flows`: those with flow control. */
export function describeRevocations(
  metrics: Metrics,
  { prefix, pool }: Names,
  flows: () => readonly (readonly [string, FlowFigures])[],
): void {
  const ofPools = <T>(read: (name: string, revocations: RevocationFigures, figures: FlowFigures) => readonly T[]) => {
    return (): T[] =>
      flows().flatMap(([name, figures]) => {
        const { revocations } = figures
        return revocations === undefined ? [] : read(name, revocations, figures)
      })
  }
  metrics.counter(
    `${prefix}_revocations_issued_total`,
    'Requests in flight that were called back for others of higher priority',
    ['priority', pool],
    ofPools((name, _revocations, { bands }) =>
      bands.map(({ plan, revocationsIssued }) => ({ labels: [String(plan.priority), name], value: revocationsIssued })),
    ),
  )
  metrics.counter(
    `${prefix}_revocations_total`,
    'Requests that were called back, by whether their streams have ended within ten seconds',
    ['outcome', pool],
    ofPools((name, { confirmed, timedOut }) => [
      { labels: ['confirmed', name], value: confirmed },
      { labels: ['timed_out', name], value: timedOut },
    ]),
  )
  metrics.gauge(
    `${prefix}_reclaim_target`,
    'Saturation beyond the ceiling at the last decision to call requests back',
    [pool],
    ofPools((name, { target }) => [{ labels: [name], value: target }]),
  )
  metrics.gauge(
    `${prefix}_pending_reclaim`,
    'Saturation that requests which were just called back take away',
    [pool],
    ofPools((name, { pending }) => [{ labels: [name], value: pending }]),
  )
  metrics.histogram(
    `${prefix}_revocation_confirmation_seconds`,
    'How long streams of requests that were called back took to end',
    [pool],
    CONFIRMATION_BUCKETS,
    ofPools((name, { confirmation }) => [
      { labels: [name], buckets: confirmation.buckets, sum: confirmation.sumSeconds },
    ]),
  )
}
