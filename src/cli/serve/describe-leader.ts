import type { LeaderElection } from '../../kubernetes/leader-election.ts'
import type { Metrics } from '../../telemetry/metrics.ts'

/** Which of the replicas leads, where one does. */
export function describeLeader(metrics: Metrics, election: LeaderElection): void {
  metrics.gauge('signalbox_leader', '1 when this replica leads, 0 when another does, or none', [], () => [
    { labels: [], value: election.leads ? 1 : 0 },
  ])
}
