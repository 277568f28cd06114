import type { SignalboxParametersSpec } from '../config/kinds/signalbox-parameters.ts'
import { problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import type { PoolPlan } from '../inference/pool-plan.ts'
import type { EntryPlan } from '../pipeline/plan.ts'
import type { ObjectIndex } from './object-index.ts'

/** Envoy knows no longer `max_message_timeout`, ms. */
export const MAX_MESSAGE_TIMEOUT_MS = 3_600_000

/**
 * How long our own fleet waits for a request to a pool, ms: as long as it may wait for its burst and in the queue, and Envoy allows. 0: nothing
 * waits.
 */
export function fleetWait({ scheduling }: PoolPlan, parameters: SignalboxParametersSpec): number {
  const { bursts, flowControl } = scheduling
  return Math.min((bursts?.windowMs ?? 0) + longestWait(flowControl), limit(parameters))
}

/** Pools whose requests may wait longer than Envoys of our own fleet do, or whose clients would be told what those do not tell. */
export function checkWaits(
  objects: ObjectIndex,
  pools: ReadonlyMap<string, PoolPlan>,
  entries: readonly EntryPlan[],
  parameters: SignalboxParametersSpec,
  problems: Problem[],
): void {
  const most = limit(parameters)
  const fleet = new Set(
    entries
      .filter(({ attach }) => attach === 'fleet')
      .flatMap(({ rules }) => rules.flatMap(({ targets }) => targets.map(({ pool }) => pool))),
  )
  for (const [name, { scheduling }] of pools) {
    const wait = longestWait(scheduling.flowControl)
    const pool = objects.get('InferencePool', name)
    if (pool === undefined || !fleet.has(name)) continue
    if (scheduling.sessionHeaders !== undefined) {
      const message =
        'session-affinity by encoded_endpoint_header: responses of our own fleet pass us by and carry no token'
      problems.push(problemAt(pool, 'warning', 'no-effect', [], `${message}; say strategy: session_id`))
    }
    if (wait <= most) continue
    const message =
      `requests wait ${most / 1000} s at most, whatever flowControl allows: ` +
      `SignalboxParameters timeouts.idle ends streams on which nothing moves, and with timeouts.upload Envoy waits an hour`
    problems.push(problemAt(pool, 'warning', 'limited', [], message))
  }
}

function longestWait(flow: PoolPlan['scheduling']['flowControl']): number {
  if (flow === undefined) return 0
  const { requestTtlMs, noEndpointTtlMs } = flow
  return requestTtlMs === 0 || noEndpointTtlMs === 0
    ? Number.POSITIVE_INFINITY
    : Math.max(requestTtlMs, noEndpointTtlMs)
}

function limit({ timeouts }: SignalboxParametersSpec): number {
  // Our refusal must come before Envoy's.
  const idle = timeouts.idle === 0 ? Number.POSITIVE_INFINITY : timeouts.idle * 0.95
  return Math.max(1000, Math.min(idle, MAX_MESSAGE_TIMEOUT_MS - timeouts.upload))
}
