/** Policies of flow control that users bring, with their errors contained: what fails counts as its default does. */
import type { z } from 'zod'
import type { EndpointTable } from '../endpoint-table.ts'
import type { PluginPlan } from '../pool-plan.ts'
import { OWN_PLUGINS } from '../scheduling/plugins/own-plugins.ts'
import { userFault } from '../scheduling/plugins/user-faults.ts'
import type { FairnessPolicy, Flow } from './fairness-policy.ts'
import type { FlowEntry } from './flow-entry.ts'
import type { OrderingPolicy } from './ordering-policies.ts'
import type { UsageLimit } from './usage-limits.ts'

/** Says how full a pool is. */
export interface SaturationDetector {
  /** Of the endpoints `slots[0, count)`, at least one: 0 = idle, 1 = as full as they should be. Must not allocate. */
  saturation(table: EndpointTable, slots: Int32Array, count: number, nowMs: number): number
}

/** Chooses among the flows of a band: the requests of one fairness id that wait at this thread. One object a band and thread. */
export interface OwnFairness {
  /** One of them. `entries.head` is its next request. */
  next(flows: readonly Flow[], nowMs: number): Flow
  /** This request of the flow was sent on. */
  served?(flow: Flow, entry: FlowEntry, nowMs: number): void
}

interface OwnType<Role extends string> {
  readonly type: string
  readonly role: Role
  readonly deprecated?: undefined
  readonly parameters: z.ZodType
}
interface OwnDetectorType extends OwnType<'saturation-detector'> {
  readonly createDetector: (parameters: unknown) => SaturationDetector
}
interface OwnFairnessType extends OwnType<'fairness-policy'> {
  readonly createFairness: (parameters: unknown) => OwnFairness
}
interface OwnOrderingType extends OwnType<'ordering-policy'> {
  readonly createOrdering: (parameters: unknown) => OrderingPolicy
}
interface OwnUsageLimitType extends OwnType<'usage-limit-policy'> {
  readonly createUsageLimit: (parameters: unknown) => UsageLimit
}
export type OwnPolicyType = OwnDetectorType | OwnFairnessType | OwnOrderingType | OwnUsageLimitType

/** One that fails says that the pool is idle. Undefined: the user has none of this type. @throws ZodError */
export function ownDetector({ type, parameters }: PluginPlan): SaturationDetector | undefined {
  const plugin = OWN_PLUGINS.get(type)
  if (plugin === undefined || !('createDetector' in plugin)) return undefined
  const own = plugin.createDetector(parameters)
  return {
    saturation(table, slots, count, nowMs) {
      try {
        const saturation = own.saturation(table, slots, count, nowMs)
        if (saturation >= 0) return saturation
        throw new RangeError(`${String(saturation)} is no saturation: a number from 0 on`)
      } catch (error) {
        userFault(type, 'saturation', error)
        return 0
      }
    },
  }
}

/** One that fails lets the flow go that has waited longest for its turn. */
export function ownFairness({ type, parameters }: PluginPlan): FairnessPolicy | undefined {
  const plugin = OWN_PLUGINS.get(type)
  if (plugin === undefined || !('createFairness' in plugin)) return undefined
  return new GuardedFairness(type, plugin.createFairness(parameters))
}

class GuardedFairness implements FairnessPolicy {
  readonly #type: string
  readonly #own: OwnFairness
  /** In the order of their last turns. */
  readonly #flows: Flow[] = []

  constructor(type: string, own: OwnFairness) {
    this.#type = type
    this.#own = own
  }

  flowOf(fairnessId: string): string {
    return fairnessId
  }

  began(flow: Flow): void {
    this.#flows.push(flow)
  }

  ended(flow: Flow): void {
    const at = this.#flows.indexOf(flow)
    if (at >= 0) this.#flows.splice(at, 1)
  }

  next(nowMs: number): Flow {
    const flows = this.#flows
    try {
      const flow: Flow | undefined = this.#own.next(flows, nowMs)
      if (flow !== undefined && flows.includes(flow)) return flow
      throw new RangeError('next must return one of the flows')
    } catch (error) {
      userFault(this.#type, 'next', error)
      return flows[0]!
    }
  }

  served(flow: Flow, entry: FlowEntry, nowMs: number): void {
    const at = this.#flows.indexOf(flow)
    if (at >= 0) this.#flows.push(...this.#flows.splice(at, 1))
    try {
      this.#own.served?.(flow, entry, nowMs)
    } catch (error) {
      userFault(this.#type, 'served', error)
    }
  }
}

/** One that fails leaves requests in the order in which they came. */
export function ownOrdering({ type, parameters }: PluginPlan): OrderingPolicy | undefined {
  const plugin = OWN_PLUGINS.get(type)
  if (plugin === undefined || !('createOrdering' in plugin)) return undefined
  const own = plugin.createOrdering(parameters)
  return (entry, ttlMs) => {
    try {
      const key = own(entry, ttlMs)
      if (typeof key === 'number' && !Number.isNaN(key)) return key
      throw new RangeError(`${String(key)} is no number`)
    } catch (error) {
      userFault(type, 'the order', error)
      return 0
    }
  }
}

/** One that fails gives all bands the ceiling 1. */
export function ownUsageLimit({ type, parameters }: PluginPlan): UsageLimit | undefined {
  const plugin = OWN_PLUGINS.get(type)
  if (plugin === undefined || !('createUsageLimit' in plugin)) return undefined
  const own = plugin.createUsageLimit(parameters)
  return {
    ceilings(saturation, priorities, ceilings) {
      try {
        own.ceilings(saturation, priorities, ceilings)
        for (let i = 0; i < priorities.length; i++) if (Number.isNaN(ceilings[i]!)) throw new RangeError('NaN')
      } catch (error) {
        userFault(type, 'ceilings', error)
        ceilings.fill(1, 0, priorities.length)
      }
    },
  }
}
