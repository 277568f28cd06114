import type { AskedModel } from './asked-model.ts'
import { EndpointState, type EndpointTable } from './endpoint-table.ts'
import type { PickRequest } from './pick.ts'
import type { Candidates } from './scheduling/candidates.ts'
import type { ServedModels } from './served-models.ts'
import { SubsetHint } from './subset-hint.ts'

/** Which endpoints of a pool may serve a request: the candidates that its filters begin with. */
export class EligibleEndpoints {
  readonly #table: EndpointTable
  readonly #served: ServedModels
  readonly #subset = new SubsetHint()

  constructor(table: EndpointTable, served: ServedModels) {
    this.#table = table
    this.#served = served
  }

  /** The table has other endpoints now. */
  adopt(): void {
    this.#subset.update(this.#table)
  }

  /** Those that are ready, in the request's subset, not known to lack its model, and that answered lately, unless none did. */
  gather(
    { subset, nowMs }: PickRequest,
    { slots: serving }: AskedModel,
    staleMs: number,
    candidates: Candidates,
  ): void {
    const table = this.#table
    const { live, liveCount, endpointState } = table
    const limited = subset !== undefined
    if (limited) this.#subset.mark(subset, table)
    const { slots } = candidates
    let count = 0
    for (let i = 0; i < liveCount; i++) {
      const slot = live[i]!
      if (endpointState[slot] !== EndpointState.READY) continue
      if (limited && !this.#subset.has(slot)) continue
      // An endpoint that has not listed its models yet may well serve this one.
      if (serving !== undefined && serving[slot] !== 1 && this.#served.listed(slot)) continue
      slots[count++] = slot
    }
    candidates.count = table.counters.mayAvoid(nowMs) ? this.#avoidOutliers(slots, count, nowMs) : count
    candidates.load(table, nowMs - staleMs)
  }

  /** Drops the endpoints that did not answer lately from the first `count`, unless no other is left. Returns how many are. */
  #avoidOutliers(slots: Int32Array, count: number, nowMs: number): number {
    const { counters } = this.#table
    let avoided = 0
    for (let i = 0; i < count; i++) if (counters.isAvoided(slots[i]!, nowMs)) avoided++
    if (avoided === 0 || avoided === count) return count
    let kept = 0
    for (let i = 0; i < count; i++) if (!counters.isAvoided(slots[i]!, nowMs)) slots[kept++] = slots[i]!
    return kept
  }
}
