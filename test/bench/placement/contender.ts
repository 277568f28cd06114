/** Who places requests in the placement benchmark. */
import type { ReplicaMetrics } from '../../../src/inference/replica-metrics.ts'
import type { Arrival } from './workloads.ts'

export interface Contender {
  /** The replica for this request. */
  pick(arrival: Arrival, now: number): number
  /** The request that was sent to this replica is over, or failed. */
  over(replica: number, arrival: Arrival, now: number): void
  /** A scrape of this replica; undefined = it refused the connection. */
  scraped(replica: number, page: ReplicaMetrics | undefined, now: number): void
  /** Its readiness has failed: it is no endpoint any more. */
  removed(replica: number): void
}

export interface ContenderKind {
  readonly name: string
  readonly title: string
  create(replicas: number, seed: number): Contender
}
