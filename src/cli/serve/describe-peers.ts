import type { Peers } from '../../peers/peers.ts'
import type { Metrics } from '../../telemetry/metrics.ts'

/** Metrics of what replicas of Signalbox tell each other. */
export function describePeers(metrics: Metrics, peers: Peers): void {
  metrics.gauge('signalbox_peers', 'Other replicas that hear this one, and those that it hears', ['direction'], () => {
    const { hear, heard } = peers.connected
    return [
      { labels: ['told'], value: hear },
      { labels: ['heard'], value: heard },
    ]
  })
  const one = (value: number) => [{ labels: [], value }]
  metrics.counter('signalbox_peer_reports_total', 'Reports that other replicas have sent', [], () =>
    one(peers.inbox.reports),
  )
  metrics.counter(
    'signalbox_peer_prompts_total',
    'Prompts that replicas have told each other of',
    ['direction'],
    () => [
      { labels: ['told'], value: peers.outbox.prompts },
      { labels: ['heard'], value: peers.inbox.prompts },
    ],
  )
  metrics.counter('signalbox_peer_prompts_dropped_total', 'Prompts that were too many to tell', [], () =>
    one(peers.outbox.dropped),
  )
}
