import type { InferencePool } from '../config/kinds/inference-pool.ts'
import { keyOf, problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import { goesByUsage } from '../inference/flow-control/flow-plugins.ts'
import type { SchedulingPlan } from '../inference/pool-plan.ts'
import type { Plan } from '../pipeline/plan.ts'

/**
 * Tells of pools of our own fleet, whose responses pass us by, that want to know the usage of responses, or to call requests back: streams
 * of the fleet's are over with the decision.
 */
export function warnUnread(
  pools: readonly InferencePool[],
  { entries, pools: plans }: Pick<Plan, 'entries' | 'pools'>,
  problems: Problem[],
): void {
  const ours = new Set(
    entries
      .filter(({ attach }) => attach === 'fleet')
      .flatMap(({ rules }) => rules.flatMap(({ targets }) => targets.map(({ pool }) => pool))),
  )
  for (const pool of pools) {
    const plan = plans.find(({ name }) => name === keyOf(pool))
    if (plan === undefined || !ours.has(plan.name)) continue
    if (plan.scheduling.flowControl?.evicts === true) {
      const message =
        "flowControl.enableEviction of the pool's EndpointPickerConfig can't be had for what our own Envoys carry: once it was sent on, it can't be called back; it is for gateways that have Signalbox as their endpoint picker"
      problems.push(problemAt(pool, 'error', 'unsupported', [], message))
    }
    for (const wish of wishesOf(plan.scheduling)) {
      const message = `${wish} of the pool's EndpointPickerConfig sees nothing of what our own Envoys carry: their responses do not come to Signalbox`
      problems.push(problemAt(pool, 'warning', 'no-effect', [], message))
    }
  }
}

function wishesOf({ usageReports, flowControl, labelHeaders, hooks = [] }: SchedulingPlan): string[] {
  return [
    ...hooks.map(({ type }) => `${type}, as far as responses go,`),
    ...(labelHeaders === undefined ? [] : ['disaggregatedset-rollout-screener, as far as response headers go,']),
    ...(usageReports === undefined ? [] : ['request-attribute-reporter']),
    ...(flowControl?.bands.some(({ fairness }) => goesByUsage(fairness)) === true
      ? ['program-aware-fairness, as far as answers go,']
      : []),
  ]
}
