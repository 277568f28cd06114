/** The filters, weighted scorers and the picker of a pool: chooses among candidates, and says afterwards which scorer decided. */
import type { EndpointTable } from '../endpoint-table.ts'
import { MAX_ENDPOINTS } from '../pick.ts'
import { type PickTimes, Step } from '../pick-times.ts'
import type { PluginPlan, ProfilePlan } from '../pool-plan.ts'
import type { Candidates } from './candidates.ts'
import type { Filter } from './filter.ts'
import { type KeyedPlugin, keyed } from './plugin-memory.ts'
import type { Picker } from './picker.ts'
import { pickMaxScores } from './pickers/max-score-picker.ts'
import { createFilter, createPicker, createPluginScorer, needsOf } from './plugins/registry.ts'
import { createScorer } from './scorers/registry.ts'
import type { Scorer } from './scorer.ts'

/** Reason when nothing told the candidates apart. */
const TIE = 'random'

const PREFIX_SCORERS: ReadonlySet<string> = new Set([
  'expected-ttft-scorer',
  'no-hit-lru-scorer',
  'precise-prefix-cache-scorer',
  'prefix-cache-scorer',
])

/** Whether a scorer or filter looks at the prompt: at what of it is in the prefix index, or how long it is. */
export function profileLooksAtPrefixes({ scorers, filters = [] }: Pick<ProfilePlan, 'scorers' | 'filters'>): boolean {
  return (
    filters.some(looksAtPrompts) ||
    scorers.some(
      ({ type, weight, parameters = {} }) =>
        weight !== 0 && (PREFIX_SCORERS.has(type) || looksAtPrompts({ type, parameters })),
    )
  )
}

export function looksAtPrompts(plan: PluginPlan): boolean {
  return needsOf(plan).some(need => need !== 'media' && need !== 'output-cap')
}

export function looksAtMedia(plan: PluginPlan): boolean {
  return needsOf(plan).includes('media')
}

export function looksAtOutputCap(plan: PluginPlan): boolean {
  return needsOf(plan).includes('output-cap')
}

export class Profile {
  readonly name: string
  readonly pickerType: string
  /** Length of the list that `pick` is asked for. */
  readonly maxEndpoints: number
  /** Chooses by the totals of `rank`. */
  readonly pick: Picker
  readonly #filters: readonly Filter[]
  readonly #scorers: readonly Scorer[]
  /** Filters and scorers. */
  readonly #plugins: readonly (Filter | Scorer)[]
  readonly keyed: readonly KeyedPlugin[]
  /** Those of them that want to know what is chosen. */
  readonly #told: readonly (Filter | Scorer)[]
  readonly #weights: Float64Array
  /** Sums of the scores of the last `rank`. */
  readonly #sums: Float64Array
  #scores: Float64Array[]
  #kept = new Uint8Array(0)
  #count = 0

  /** @throws UnknownScorerError, UnknownPluginError, ZodError for bad parameters, RangeError for a weight that is no finite number. */
  constructor({ scorers, filters = [], picker, maxEndpoints }: ProfilePlan, name = 'default') {
    this.name = name
    this.pickerType = picker?.type ?? 'max-score-picker'
    this.maxEndpoints = Math.max(1, Math.min(maxEndpoints, MAX_ENDPOINTS))
    this.#filters = filters.map(createFilter)
    this.pick = picker === undefined ? pickMaxScores : createPicker(picker)
    this.#scorers = scorers.map(({ type, parameters }) =>
      parameters === undefined ? createScorer(type) : createPluginScorer({ type, parameters }),
    )
    this.#plugins = [...this.#filters, ...this.#scorers]
    this.keyed = keyed(name, [...filters, ...scorers], this.#plugins)
    this.#told = this.#plugins.filter(plugin => plugin.chosen !== undefined)
    this.#sums = new Float64Array(scorers.length)
    this.#weights = Float64Array.from(scorers, ({ type, weight }) => {
      if (!Number.isFinite(weight)) throw new RangeError(`weight of ${type} must be a finite number`)
      return weight
    })
    this.#scores = scorers.map(() => new Float64Array(0))
  }

  reserve(capacity: number): void {
    if (this.#kept.length >= capacity) return
    this.#kept = new Uint8Array(capacity)
    this.#scores = this.#scores.map(() => new Float64Array(capacity))
  }

  /** Goes over to the endpoints that the table has now. */
  adopt(table: EndpointTable): void {
    for (const plugin of this.#plugins) plugin.adopt?.(table)
  }

  /** Drops the candidates that a filter does not let pass. */
  filter(candidates: Candidates, table: EndpointTable, times?: PickTimes): void {
    for (let f = 0; f < this.#filters.length && candidates.count > 0; f++) {
      this.#filters[f]!.filter(candidates, table, this.#kept)
      candidates.keep(this.#kept)
      times?.lap(Step.FILTER, this.#filters[f]!.type)
    }
  }

  /** Sets `total[i]` to the weighted sum of candidate `i`. */
  rank(candidates: Candidates, table: EndpointTable, total: Float64Array, times?: PickTimes): void {
    const { count } = candidates
    this.#count = count
    if (this.#scorers.length === 0) total.fill(0, 0, count)
    for (let s = 0; s < this.#scorers.length; s++) {
      const scores = this.#scores[s]!
      const weight = this.#weights[s]!
      this.#scorers[s]!.score(candidates, table, scores)
      this.#sums[s] = s === 0 ? setTerm(total, weight, scores, count) : addTerm(total, weight, scores, count)
      if (times !== undefined) times.lap(Step.SCORER, this.#scorers[s]!.type)
    }
  }

  /** Main thread: see `Scorer.sentElsewhere`. */
  sentElsewhere(table: EndpointTable, slot: number, uncachedBytes: number, nowMs: number): void {
    for (const scorer of this.#scorers) scorer.sentElsewhere?.(table, slot, uncachedBytes, nowMs)
  }

  /** The request goes to this candidate of the last `rank`. */
  chosen(candidates: Candidates, table: EndpointTable, choice: number): void {
    for (let p = 0; p < this.#told.length; p++) this.#told[p]!.chosen!(candidates, table, choice)
  }

  get scorerCount(): number {
    return this.#scorers.length
  }

  scorer(index: number): { readonly type: string; readonly weight: number } {
    return { type: this.#scorers[index]!.type, weight: this.#weights[index]! }
  }

  /** What a scorer gave to a candidate of the last `rank`, 0 … 1. */
  score(scorer: number, candidate: number): number {
    return this.#scores[scorer]![candidate]!
  }

  /** The scorer whose term raised this candidate of the last `rank` furthest above the candidates' mean. */
  reason(candidate: number): string {
    let decided: Scorer | undefined
    let furthest = 1e-9
    for (let s = 0; s < this.#scorers.length; s++) {
      const gain = this.#weights[s]! * (this.#scores[s]![candidate]! - this.#sums[s]! / this.#count)
      if (gain > furthest) {
        furthest = gain
        decided = this.#scorers[s]!
      }
    }
    return decided === undefined ? TIE : (decided.why?.(candidate) ?? decided.type)
  }
}

/** Sets `total[i]` to the first scorer's term, clamps its scores to 0 … 1, and returns their sum. */
function setTerm(total: Float64Array, weight: number, scores: Float64Array, count: number): number {
  let sum = 0
  for (let i = 0; i < count; i++) {
    const score = clamp(scores[i]!)
    scores[i] = score
    total[i] = weight * score
    sum += score
  }
  return sum
}

/** The same of a further scorer, whose term is added. */
function addTerm(total: Float64Array, weight: number, scores: Float64Array, count: number): number {
  let sum = 0
  for (let i = 0; i < count; i++) {
    const score = clamp(scores[i]!)
    scores[i] = score
    total[i]! += weight * score
    sum += score
  }
  return sum
}

/** NaN becomes 0 too. */
function clamp(score: number): number {
  return score >= 0 ? (score > 1 ? 1 : score) : 0
}
