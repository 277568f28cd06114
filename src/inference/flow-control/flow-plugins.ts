/** The policies of flow control by their types, with what configures them (epp.md §3.10). */
import { z } from 'zod'
import { object } from '../../config/kinds/common.ts'
import type { PluginPlan } from '../pool-plan.ts'
import type { FairnessPolicy } from './fairness-policy.ts'
import { GlobalStrictFairness } from './global-strict-fairness.ts'
import { type OrderingPolicy, ORDERING_POLICIES } from './ordering-policies.ts'
import { ownFairness, ownOrdering, ownUsageLimit } from './own-policies.ts'
import { ProgramAwareFairness } from './program-aware-fairness.ts'
import { RoundRobinFairness } from './round-robin-fairness.ts'
import { PriorityHoldback, SoftReflectiveCeiling, StaticUsageLimit, type UsageLimit } from './usage-limits.ts'

/** What a plug-in of flow control is. */
type FlowRole =
  | 'fairness-policy'
  | 'ordering-policy'
  | 'usage-limit-policy'
  | 'eviction-filter'
  | 'eviction-order-policy'
  | 'admitter'

export interface FlowPluginType {
  readonly type: string
  readonly role: FlowRole
  readonly deprecated?: undefined
  readonly parameters: z.ZodType
}

const NONE = object({})
const ceiling = z.number().positive().max(1000)

const programAware = object({
  strategy: z.literal('las', 'only "las" is there').default('las'),
  lasWeightService: z.number().min(0).default(0.8),
  lasWeightHeadWait: z.number().min(0).default(0.2),
  lasHalfLifeSeconds: z.number().positive().default(60),
  evictionTtlSeconds: z.number().positive().default(3600),
  evictionSweepSeconds: z.number().positive().default(300),
})

const staticLimit = object({ threshold: ceiling.default(1) })

const holdback = object({
  shape: z.literal('linear', 'only "linear" is there').default('linear'),
  domain: z.enum(['rank', 'value']).default('rank'),
  minCeiling: ceiling,
  maxCeiling: ceiling.default(1),
}).refine(({ minCeiling, maxCeiling }) => minCeiling <= maxCeiling, {
  message: 'must not be above maxCeiling',
  path: ['minCeiling'],
})

/** p(reject) = min(1, k · saturation^power) */
export const probabilisticParameters = object({
  queueDepthThreshold: z.int().min(1).default(5),
  kvCacheUtilThreshold: z.number().positive().max(1).default(0.8),
  power: z.number().positive().max(1000).default(5),
  k: z.number().min(0).default(300),
})

export const FLOW_PLUGINS: readonly FlowPluginType[] = [
  { type: 'global-strict-fairness-policy', role: 'fairness-policy', parameters: NONE },
  { type: 'round-robin-fairness-policy', role: 'fairness-policy', parameters: NONE },
  { type: 'program-aware-fairness', role: 'fairness-policy', parameters: programAware },
  ...Object.keys(ORDERING_POLICIES).map(type => ({ type, role: 'ordering-policy', parameters: NONE }) as const),
  { type: 'static-usage-limit-policy', role: 'usage-limit-policy', parameters: staticLimit },
  { type: 'priority-holdback-policy', role: 'usage-limit-policy', parameters: holdback },
  { type: 'soft-reflective-ceiling-policy', role: 'usage-limit-policy', parameters: NONE },
  // There is one of each: ./lease.ts.
  { type: 'sheddable-eviction-filter', role: 'eviction-filter', parameters: NONE },
  { type: 'priority-then-time-eviction-order-policy', role: 'eviction-order-policy', parameters: NONE },
  { type: 'probabilistic-admitter', role: 'admitter', parameters: probabilisticParameters },
]

/** Whether the fairness policy wants to know what requests have used. */
export function goesByUsage({ type }: PluginPlan): boolean {
  return type === 'program-aware-fairness'
}

/** @throws ZodError */
export function createFairness(plan: PluginPlan): FairnessPolicy {
  const { type, parameters } = plan
  switch (type) {
    case 'round-robin-fairness-policy':
      return new RoundRobinFairness()
    case 'program-aware-fairness':
      return new ProgramAwareFairness(programAware.parse(parameters))
    default:
      return ownFairness(plan) ?? new GlobalStrictFairness()
  }
}

/** @throws ZodError */
export function createOrdering(plan: PluginPlan): OrderingPolicy {
  return ORDERING_POLICIES[plan.type] ?? ownOrdering(plan) ?? ORDERING_POLICIES['fcfs-ordering-policy']!
}

/** @throws ZodError */
export function createUsageLimit(plan: PluginPlan): UsageLimit {
  const { type, parameters } = plan
  switch (type) {
    case 'priority-holdback-policy':
      return new PriorityHoldback(holdback.parse(parameters))
    case 'soft-reflective-ceiling-policy':
      return new SoftReflectiveCeiling()
    default:
      return ownUsageLimit(plan) ?? new StaticUsageLimit(staticLimit.parse(parameters))
  }
}
