/** Who may come in while there is no flow control (epp.md §3.10): requests of negative priority are refused while the pool is saturated. */
import type { EndpointTable } from '../endpoint-table.ts'
import type { PluginPlan } from '../pool-plan.ts'
import type { AdmissionPlan } from './flow-plan.ts'
import { probabilisticParameters } from './flow-plugins.ts'
import { Saturation } from './saturation.ts'

export const Admitted = {
  YES: 0,
  /** The pool is saturated. */
  SATURATED: 1,
  /** A plug-in says no. */
  DENIED: 2,
} as const
export type Admitted = (typeof Admitted)[keyof typeof Admitted]

export class Admission {
  readonly #random: () => number
  readonly #saturation: Saturation
  #admitters: readonly ProbabilisticAdmitter[] = []

  /** `random`: [0, 1). @throws ZodError */
  constructor(plan: AdmissionPlan, table: EndpointTable, random: () => number) {
    this.#random = random
    this.#saturation = new Saturation(plan.saturation, table)
    this.adopt(plan, table)
  }

  /** The table has other endpoints now, or the plan is another one. @throws ZodError */
  adopt(plan: AdmissionPlan, table: EndpointTable): void {
    this.#saturation.adopt(plan.saturation)
    this.#admitters = plan.admitters.map(admitter => new ProbabilisticAdmitter(admitter, table))
  }

  admit(priority: number, nowMs: number): Admitted {
    if (priority >= 0) return Admitted.YES
    if (this.#saturation.measure(nowMs) >= 1) return Admitted.SATURATED
    for (const admitter of this.#admitters) if (!admitter.admits(nowMs, this.#random())) return Admitted.DENIED
    return Admitted.YES
  }
}

/** Refuses the more often the fuller the pool is: with probability min(1, k · saturation^power). */
class ProbabilisticAdmitter {
  readonly #saturation: Saturation
  readonly #power: number
  readonly #k: number

  /** @throws ZodError */
  constructor({ parameters }: PluginPlan, table: EndpointTable) {
    const { queueDepthThreshold, kvCacheUtilThreshold, power, k } = probabilisticParameters.parse(parameters)
    const detector = { type: 'utilization-detector', parameters: { queueDepthThreshold, kvCacheUtilThreshold } }
    this.#saturation = new Saturation(detector, table)
    this.#power = power
    this.#k = k
  }

  admits(nowMs: number, random: number): boolean {
    const saturation = this.#saturation.measure(nowMs)
    return random >= Math.min(1, this.#k * saturation ** this.#power)
  }
}
