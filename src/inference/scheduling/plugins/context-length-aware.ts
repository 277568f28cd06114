import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import type { Filter } from '../filter.ts'
import type { Scorer } from '../scorer.ts'
import type { FilteringScorerType } from './plugin-type.ts'

const parameters = object({
  /** Label of endpoints that says `min-max`: lengths of prompts that they are meant for, tokens. */
  label: z.string().min(1).default('llm-d.ai/context-length-range'),
  /** Endpoints that are meant for other lengths are no candidates. */
  enableFiltering: z.boolean().default(false),
})

const NO_LABEL = 0.5
/** Below what any endpoint with a fitting range has. */
const MOST_OUTSIDE = 0.3

/**
 * Endpoints by the lengths of prompts that their labels say they are for (epp.md §3.3). As a scorer: in the range
 * `0.3 + 0.7 · (0.7 / (1 + width / 10000) + 0.3 · (max − length) / width)`, outside `0.3 / (1 + distance / 1000)`; no label 0.5, an
 * unreadable one 0. As a filter, if told so: only those in range and those without a label.
 */
class ContextLengthAware implements Filter, Scorer {
  readonly type = 'context-length-aware'
  readonly #label: string
  /** By slot: the range; NaN = no label; min > max = unreadable. */
  #min = new Float64Array(0)
  #max = new Float64Array(0)

  constructor(label: string) {
    this.#label = label
  }

  adopt(table: EndpointTable): void {
    this.#min = new Float64Array(table.capacity)
    this.#max = new Float64Array(table.capacity)
    for (let i = 0; i < table.liveCount; i++) {
      const slot = table.live[i]!
      const [min, max] = rangeOf(table.labels(slot)?.[this.#label])
      this.#min[slot] = min
      this.#max[slot] = max
    }
  }

  filter({ count, slots, promptTokens }: Candidates, _table: EndpointTable, kept: Uint8Array): void {
    for (let i = 0; i < count; i++) {
      const min = this.#min[slots[i]!]!
      kept[i] = Number.isNaN(min) || (promptTokens >= min && promptTokens <= this.#max[slots[i]!]!) ? 1 : 0
    }
  }

  score({ count, slots, promptTokens }: Candidates, _table: EndpointTable, out: Float64Array): void {
    for (let i = 0; i < count; i++) out[i] = scoreOf(promptTokens, this.#min[slots[i]!]!, this.#max[slots[i]!]!)
  }
}

function scoreOf(length: number, min: number, max: number): number {
  if (Number.isNaN(min)) return NO_LABEL
  if (min > max) return 0
  if (length < min) return MOST_OUTSIDE / (1 + (min - length) / 1000)
  if (length > max) return MOST_OUTSIDE / (1 + (length - max) / 1000)
  const width = max - min
  if (width === 0) return 1
  return MOST_OUTSIDE + (1 - MOST_OUTSIDE) * (0.7 / (1 + width / 10_000) + (0.3 * (max - length)) / width)
}

const UNREADABLE = [1, 0] as const

function rangeOf(label: string | undefined): readonly [min: number, max: number] {
  if (label === undefined) return [Number.NaN, Number.NaN]
  const [, min, max] = /^\s*(\d+)\s*-\s*(\d+)\s*$/.exec(label) ?? []
  if (min === undefined || max === undefined) return UNREADABLE
  return Number(min) <= Number(max) ? [Number(min), Number(max)] : UNREADABLE
}

export const contextLengthAware: FilteringScorerType = {
  type: 'context-length-aware',
  role: 'scorer',
  parameters,
  needs: () => ['prompt'],
  create: given => new ContextLengthAware(parameters.parse(given).label),
  filters: given => parameters.parse(given).enableFiltering,
  createFilter: given => new ContextLengthAware(parameters.parse(given).label),
}
