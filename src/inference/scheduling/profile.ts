/** The scorers of a pool and their weights: ranks candidates, and says afterwards which scorer decided. */
import type { EndpointTable } from '../endpoint-table.ts'
import type { SchedulingPlan } from '../pool-plan.ts'
import type { Candidates } from './candidates.ts'
import { createScorer } from './scorers/registry.ts'
import type { Scorer } from './scorer.ts'

/** Reason when nothing told the candidates apart. */
const TIE = 'random'

export class Profile {
  /** Whether a scorer looks at the prefix index. */
  readonly usesPrefix: boolean
  readonly #scorers: readonly Scorer[]
  readonly #weights: Float64Array
  #scores: Float64Array[]
  #count = 0

  /** @throws UnknownScorerError, RangeError for a weight that is no finite number. */
  constructor(scorers: SchedulingPlan['scorers']) {
    this.#scorers = scorers.map(({ type }) => createScorer(type))
    this.#weights = Float64Array.from(scorers, ({ type, weight }) => {
      if (!Number.isFinite(weight)) throw new RangeError(`weight of ${type} must be a finite number`)
      return weight
    })
    this.#scores = scorers.map(() => new Float64Array(0))
    this.usesPrefix = scorers.some(({ type, weight }) => type === 'prefix-cache-scorer' && weight !== 0)
  }

  reserve(capacity: number): void {
    if ((this.#scores[0]?.length ?? capacity) >= capacity) return
    this.#scores = this.#scores.map(() => new Float64Array(capacity))
  }

  /** Sets `total[i]` to the weighted sum of candidate `i`. */
  rank(candidates: Candidates, table: EndpointTable, total: Float64Array): void {
    const { count } = candidates
    this.#count = count
    total.fill(0, 0, count)
    for (let s = 0; s < this.#scorers.length; s++) {
      const scores = this.#scores[s]!
      const weight = this.#weights[s]!
      this.#scorers[s]!.score(candidates, table, scores)
      for (let i = 0; i < count; i++) total[i]! += weight * scores[i]!
    }
  }

  /** The scorer whose term raised this candidate of the last `rank` furthest above the candidates' mean. */
  reason(candidate: number): string {
    let reason = TIE
    let furthest = 1e-9
    for (let s = 0; s < this.#scorers.length; s++) {
      const scores = this.#scores[s]!
      let sum = 0
      for (let i = 0; i < this.#count; i++) sum += scores[i]!
      const gain = this.#weights[s]! * (scores[candidate]! - sum / this.#count)
      if (gain > furthest) {
        furthest = gain
        reason = this.#scorers[s]!.type
      }
    }
    return reason
  }
}
