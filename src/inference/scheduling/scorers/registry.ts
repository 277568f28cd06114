/** The one place where scorers get their names. */
import type { SchedulingPlan } from '../../pool-plan.ts'
import type { Scorer } from '../scorer.ts'
import { activeRequestScorer } from './active-request-scorer.ts'
import { expectedTtftScorer } from './expected-ttft-scorer.ts'
import { kvCacheUtilizationScorer } from './kv-cache-utilization-scorer.ts'
import { loraAffinityScorer } from './lora-affinity-scorer.ts'
import { prefixCacheScorer } from './prefix-cache-scorer.ts'
import { queueScorer } from './queue-scorer.ts'
import { runningRequestsSizeScorer } from './running-requests-size-scorer.ts'

const SCORERS: Readonly<Record<string, () => Scorer>> = {
  'active-request-scorer': activeRequestScorer,
  'expected-ttft-scorer': expectedTtftScorer,
  'kv-cache-utilization-scorer': kvCacheUtilizationScorer,
  'lora-affinity-scorer': loraAffinityScorer,
  'prefix-cache-scorer': prefixCacheScorer,
  'queue-scorer': queueScorer,
  'running-requests-size-scorer': runningRequestsSizeScorer,
}

/** Names that configuration may use. */
export const SCORER_TYPES: readonly string[] = Object.keys(SCORERS)

/** What a pool uses that configures nothing: one sum of milliseconds for all kinds of load (docs/placement.md). */
export const DEFAULT_SCORERS: SchedulingPlan['scorers'] = [{ type: 'expected-ttft-scorer', weight: 1 }]

export class UnknownScorerError extends Error {
  readonly code = 'unknown-scorer'
  constructor(type: string) {
    super(`no scorer "${type}"; there are ${SCORER_TYPES.join(', ')}`)
    this.name = 'UnknownScorerError'
  }
}

/** @throws UnknownScorerError */
export function createScorer(type: string): Scorer {
  const create = Object.hasOwn(SCORERS, type) ? SCORERS[type] : undefined
  if (create === undefined) throw new UnknownScorerError(type)
  return create()
}
