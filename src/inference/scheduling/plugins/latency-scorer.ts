import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import type { Scorer } from '../scorer.ts'
import { scorerType } from './plugin-type.ts'
import { SloHeadroom } from './slo-headroom.ts'

const weight = (value: number) => z.number().min(0).default(value)

const parameters = object({
  ttftWeight: weight(0.8),
  tpotWeight: weight(0.2),
  /** `least` fills endpoints that just reach their aims, `most` keeps the largest reserve. */
  headroomSelectionStrategy: z.enum(['least', 'most']).default('least'),
  compositeKVWeight: weight(1),
  compositeQueueWeight: weight(1),
  compositePrefixWeight: weight(1),
  latencyPredictionInfoProducerName: z.string().optional(),
  prefixMatchInfoProducerName: z.string().optional(),
})
type Parameters = z.output<typeof parameters>

const STEPS = 100
/** Less is no difference. */
const EPSILON = 1e-9

/** Who is scored together; lower comes first. Everybody else has 0. */
const Group = { REACHES: 0, IDLE: 1, MISSES_TPOT: 2, MISSES_TTFT: 3, MISSES_BOTH: 4 } as const

/**
 * By how far predictions stay below the request's aims, with the formula and the order of groups of epp.md §3.4: those that reach both, else
 * idle ones, else those that miss the time per output token only, the first token only, both. Without any prediction: the weighted mean of
 * free KV cache, relative queue and prefix.
 */
class LatencyScorer implements Scorer {
  readonly type = 'latency-scorer'
  readonly #given: Parameters
  readonly #headroom = new SloHeadroom()
  #groups = new Uint8Array(0)

  constructor(given: Parameters) {
    this.#given = given
  }

  score(candidates: Candidates, _table: EndpointTable, out: Float64Array): void {
    const { count, ttft } = candidates
    let predicted = false
    for (let i = 0; i < count; i++) if (!Number.isNaN(ttft[i]!)) predicted = true
    if (!predicted) return this.#scoreLoads(candidates, out)
    if (this.#groups.length < count) this.#groups = new Uint8Array(out.length)
    this.#headroom.begin(candidates)
    let best: number = Group.MISSES_BOTH
    for (let i = 0; i < count; i++) {
      const group = this.#groupOf(candidates, i)
      this.#groups[i] = group
      if (group < best) best = group
    }
    this.#scoreGroup(candidates, best, out)
  }

  #groupOf(candidates: Candidates, i: number): number {
    const ttft = this.#headroom.ofTtft(candidates, i)
    const tpot = this.#headroom.ofTpot(candidates, i)
    // One without a prediction goes with those that reach, as llm-d has it.
    if (Number.isNaN(ttft) || (ttft >= 0 && tpot >= 0)) return Group.REACHES
    if (candidates.inFlight[i] === 0) return Group.IDLE
    if (ttft >= 0) return Group.MISSES_TPOT
    return tpot >= 0 ? Group.MISSES_TTFT : Group.MISSES_BOTH
  }

  #scoreGroup(candidates: Candidates, group: number, out: Float64Array): void {
    const { count } = candidates
    const headroom = this.#headroom
    let minTtft = Number.POSITIVE_INFINITY
    let maxTtft = 0
    let minTpot = Number.POSITIVE_INFINITY
    let maxTpot = 0
    for (let i = 0; i < count; i++) {
      if (this.#groups[i] !== group) continue
      const ttft = size(headroom.ofTtft(candidates, i))
      const tpot = size(headroom.ofTpot(candidates, i))
      if (ttft < minTtft) minTtft = ttft
      if (ttft > maxTtft) maxTtft = ttft
      if (tpot < minTpot) minTpot = tpot
      if (tpot > maxTpot) maxTpot = tpot
    }
    const spreadTtft = maxTtft - minTtft > EPSILON
    const spreadTpot = maxTpot - minTpot > EPSILON
    const { ttftWeight, tpotWeight, headroomSelectionStrategy } = this.#given
    const weights = ttftWeight + tpotWeight
    let alpha = weights > 0 ? ttftWeight / weights : 1
    let beta = weights > 0 ? tpotWeight / weights : 0
    // Where only one of the times tells candidates apart, it alone counts.
    if (spreadTtft !== spreadTpot) {
      alpha = spreadTtft ? 1 : 0
      beta = 1 - alpha
    }
    const most = headroomSelectionStrategy === 'most' && group === Group.REACHES
    for (let i = 0; i < count; i++) {
      if (this.#groups[i] !== group) {
        out[i] = 0
        continue
      }
      const ttft = spreadTtft ? (size(headroom.ofTtft(candidates, i)) - minTtft) / (maxTtft - minTtft) : 0.5
      const tpot = spreadTpot ? (size(headroom.ofTpot(candidates, i)) - minTpot) / (maxTpot - minTpot) : 0.5
      const combined = alpha * ttft + beta * tpot
      out[i] = (Math.floor((most ? combined : 1 - combined) * STEPS) + 1) / STEPS
    }
  }

  #scoreLoads(candidates: Candidates, out: Float64Array): void {
    const { count, waiting, kvUsage } = candidates
    const { compositeKVWeight, compositeQueueWeight, compositePrefixWeight } = this.#given
    const sum = compositeKVWeight + compositeQueueWeight + compositePrefixWeight
    const { share } = candidates.matchOf(this.#given.prefixMatchInfoProducerName)
    let longest = 0
    for (let i = 0; i < count; i++) if (waiting[i]! > longest) longest = waiting[i]!
    for (let i = 0; i < count; i++) {
      const free = 1 - kvUsage[i]!
      const queue = longest === 0 ? 1 : (longest - waiting[i]!) / longest
      const weighted = compositeKVWeight * free + compositeQueueWeight * queue + compositePrefixWeight * share[i]!
      out[i] = Math.round(STEPS * (sum === 0 ? free : weighted / sum)) / STEPS
    }
  }
}

/** A headroom's size; 0 where nothing is predicted. */
function size(headroom: number): number {
  return Number.isNaN(headroom) ? 0 : Math.abs(headroom)
}

export const latencyScorer = scorerType(
  'latency-scorer',
  parameters,
  (given): Scorer => new LatencyScorer(given),
  () => ['latency', 'prefix'],
)
