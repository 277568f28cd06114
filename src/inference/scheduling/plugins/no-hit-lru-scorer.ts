import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import type { Scorer } from '../scorer.ts'
import { scorerType } from './plugin-type.ts'

const parameters = object({
  /** Who falls out of the list counts as unused. Those stand first in any order: here in that of their last use, so that it decides nothing. */
  lruSize: z.int().min(1).default(1024),
  prefixMatchInfoProducerName: z.string().optional(),
})

/** Words of an endpoint: its generation, and the number of its last cold request. The first word of all counts cold requests. */
const WORDS = 2

/**
 * Spreads *cold* requests, those that no candidate has a prefix of: unused endpoints first, then those whose last cold request is
 * longest ago. The i-th of n has `1 − i / (n − 1)`. A warm request: 0.5 for all (epp.md §3.3).
 */
class NoHitLruScorer implements Scorer {
  readonly type = 'no-hit-lru-scorer'
  readonly #producer: string | undefined
  #memory: Int32Array = new Int32Array(1)
  #space = new Float64Array(0)
  /** `number of the last cold request · capacity + candidate`, to be sorted: of the candidates alone, not of the table's whole capacity. */
  #keys = new Float64Array(0)
  #cold = false

  constructor(prefixMatchInfoProducerName: string | undefined) {
    this.#producer = prefixMatchInfoProducerName
  }

  adopt({ capacity }: EndpointTable): void {
    this.#space = new Float64Array(capacity)
    this.#keys = this.#space
  }

  sharedWords(capacity: number): number {
    return 1 + WORDS * capacity
  }

  attach(memory: Int32Array): void {
    this.#memory = memory
  }

  score(candidates: Candidates, table: EndpointTable, out: Float64Array): void {
    const { count, slots } = candidates
    const { share } = candidates.matchOf(this.#producer)
    this.#cold = true
    for (let i = 0; i < count; i++) if (share[i]! > 0) this.#cold = false
    if (!this.#cold) {
      out.fill(0.5, 0, count)
      return
    }
    const { capacity } = table
    if (this.#keys.length !== count) this.#keys = this.#space.subarray(0, count)
    const keys = this.#keys
    for (let i = 0; i < count; i++) keys[i] = this.#lastUse(slots[i]!, table) * capacity + i
    keys.sort()
    for (let place = 0; place < count; place++) out[keys[place]! % capacity] = count === 1 ? 1 : 1 - place / (count - 1)
  }

  chosen({ slots }: Candidates, table: EndpointTable, choice: number): void {
    if (!this.#cold) return
    const slot = slots[choice]!
    const memory = this.#memory
    memory[1 + WORDS * slot] = table.generation[slot]!
    memory[2 + WORDS * slot] = Atomics.add(memory, 0, 1) + 1
  }

  #lastUse(slot: number, table: EndpointTable): number {
    const memory = this.#memory
    return memory[1 + WORDS * slot] === table.generation[slot] ? memory[2 + WORDS * slot]! : 0
  }
}

export const noHitLruScorer = scorerType(
  'no-hit-lru-scorer',
  parameters,
  ({ prefixMatchInfoProducerName }): Scorer => new NoHitLruScorer(prefixMatchInfoProducerName),
)
