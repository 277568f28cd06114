import { type AdminServer, type AdminSources, startAdminServer } from '../../admin/admin-server.ts'
import { AccessReviewer } from '../../kubernetes/access-review.ts'
import type { LeaderElection } from '../../kubernetes/leader-election.ts'
import type { Peers } from '../../peers/peers.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import type { Threads } from '../../threads/threads.ts'
import type { Configuration } from './configuration.ts'
import { describeAll } from './describe-all.ts'
import { describeKubernetes } from './describe-kubernetes.ts'
import { describeKvEvents } from './describe-kv-events.ts'
import { describeLeader } from './describe-leader.ts'
import { describePeers } from './describe-peers.ts'
import type { KvFeeds } from './kv-feeds.ts'
import type { HostPort, ServeOptions } from './options.ts'
import type { Readiness } from './readiness.ts'
import type { Scrapers } from './scrapers.ts'
import type { Sources } from './sources.ts'

/** The parts of a running Signalbox of which its admin port tells. */
export interface AdminParts {
  readonly options: ServeOptions
  readonly metrics: Metrics
  readonly threads: Threads
  readonly scrapers: Scrapers
  readonly kvFeeds: KvFeeds
  readonly peers: Peers | undefined
  readonly election: LeaderElection | undefined
  readonly sources: Sources
  readonly configuration: Configuration
  readonly readiness: Readiness
  /** Of xDS, as JSON. */
  readonly clients: () => unknown
  readonly log: Log
}

/** Serves metrics, health and what is to be seen of a running Signalbox. Rejects when the address cannot be had. */
export async function startAdminPort({ host, port }: HostPort, parts: AdminParts): Promise<AdminServer> {
  const { options, metrics, threads, scrapers, kvFeeds, peers, election, sources, configuration, readiness, log } =
    parts
  await describeAll(metrics, { threads, scrapers }, options.measuring)
  describeKvEvents(metrics, kvFeeds)
  if (peers !== undefined) describePeers(metrics, peers)
  if (election !== undefined) describeLeader(metrics, election)
  const followed = sources.figures() !== undefined
  const figures = () => sources.figures() ?? []
  if (followed) describeKubernetes(metrics, figures)
  const adminTls = options.picker?.adminTls
  const onTlsError = (error: unknown) => log.error({ err: error }, 'metrics: the certificate files cannot be used')
  return startAdminServer(host, port, {
    metrics: async () => {
      await threads.publish()
      return { contentType: metrics.contentType, body: await metrics.page() }
    },
    notReady: () => readiness.whyNot,
    ...(adminTls === undefined ? {} : { tls: { options: adminTls, onError: onTlsError } }),
    ...authorization(parts),
    documents: {
      '/pools': () => Object.fromEntries([...threads.keeper.pools].map(([name, pool]) => [name, pool.snapshot()])),
      '/clients': parts.clients,
      '/configuration': () => configuration.status(),
      '/threads': () => threads.status(),
      ...(followed ? { '/kubernetes': figures } : {}),
    },
  })
}

/** Callers are asked for, where a picker is to do so. */
function authorization({ options, sources: { client } }: AdminParts): Pick<AdminSources, 'authorize'> {
  if (options.picker?.authorizes !== true || client === undefined) return {}
  const reviewer = new AccessReviewer(client)
  return { authorize: (authorization, path) => reviewer.review(authorization, path) }
}
