import { fairnessIdOf, priorityOf } from '../inference/flow-control/request-terms.ts'
import type { Call } from './call.ts'
import type { ClientNames } from './client-names.ts'
import type { LinkedPool } from './linked-pool.ts'
import { Measured } from './measured.ts'

/** Whose a request is, for its metrics: said once, as soon as somebody must know. */
export class RequestLabels {
  readonly #names: ClientNames
  readonly #now: () => number

  constructor(names: ClientNames, now: () => number) {
    this.#names = names
    this.#now = now
  }

  /** The request, with its labels. `linked`: where it goes; undefined: to no pool, or that is not known yet. */
  label(call: Call, linked: LinkedPool | undefined): Measured {
    const measured = (call.measured ??= new Measured())
    if (measured.labels[2] !== '') return measured
    this.#names.age(this.#now())
    measured.model = call.model ?? call.facts.model.name ?? ''
    measured.target = call.rewritten ?? call.model ?? ''
    measured.fairnessId = fairnessIdOf(call.headers, linked?.pool.gate.agentHeaders)
    const model = this.#names.models.admit(measured.model)
    const target = this.#names.models.admit(measured.target)
    const priority = linked === undefined ? 0 : priorityOf(call.headers, linked.pool.gate.objectives)
    measured.labels = [model, target, this.#names.tenants.admit(measured.fairnessId), String(priority)]
    return measured
  }
}
