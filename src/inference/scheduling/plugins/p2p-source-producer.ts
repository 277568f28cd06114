import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import { BYTES_PER_TOKEN, type Candidates } from '../candidates.ts'
import type { Producer } from '../producer.ts'
import { Random } from '../random.ts'
import type { ProducerType } from './plugin-type.ts'

const parameters = object({
  prefixMatchInfoProducerName: z.string().optional(),
  /** Tokens that the source must hold beyond the endpoint that computes the prompt. */
  minCachedTokenDelta: z.int().min(1).default(1),
  /** Where such a profile chooses an endpoint, that one computes the prompt; else the primary one. */
  prefillProfileName: z
    .literal('prefill', 'only the prefill stage, "prefill", can compute the prompt elsewhere')
    .default('prefill'),
})
type Parameters = z.output<typeof parameters>

/** Endpoints that hold as much as the one with most, but for this, are as good: one alone would be asked by everybody. */
const BAND_TOKENS = 64

/**
 * Another endpoint to fetch the beginning of a prompt from (epp.md §3.6): among those that hold most of it one by chance, the less likely the
 * longer its queue, if it holds enough more than the endpoint that computes the prompt.
 */
export class KvSource implements Producer {
  readonly type = 'p2p-source-producer'
  readonly #given: Parameters
  readonly #random: Random
  /** Tokens of the prompt that each slot holds, as of the last `produce`. */
  #cached = new Float64Array(0)
  #source = -1

  constructor(given: Parameters, seed = Math.random() * 0x7fffffff) {
    this.#given = given
    this.#random = new Random(seed)
  }

  adopt({ capacity }: EndpointTable): void {
    this.#cached = new Float64Array(capacity)
  }

  produce(candidates: Candidates): void {
    const { count, slots, waiting } = candidates
    const { share, bytes } = candidates.matchOf(this.#given.prefixMatchInfoProducerName)
    const cached = this.#cached
    let most = 0
    for (let i = 0; i < count; i++) {
      const tokens = bytes === 0 ? 0 : (share[i]! * bytes) / BYTES_PER_TOKEN
      cached[slots[i]!] = tokens
      if (tokens > most) most = tokens
    }
    this.#source = -1
    if (most === 0) return
    let weights = 0
    for (let i = 0; i < count; i++) {
      const tokens = cached[slots[i]!]!
      if (tokens === 0 || tokens < most - BAND_TOKENS) continue
      const weight = 1 / (1 + waiting[i]!)
      weights += weight
      if (this.#random.unit() * weights < weight) this.#source = slots[i]!
    }
  }

  /** The slot to fetch from, for a request whose prompt this slot computes; −1: none is worth it. */
  sourceFor(slot: number): number {
    const source = this.#source
    if (source < 0 || source === slot) return -1
    return this.#cached[source]! - this.#cached[slot]! >= this.#given.minCachedTokenDelta ? source : -1
  }
}

export const p2pSourceProducer: ProducerType = {
  type: 'p2p-source-producer',
  role: 'producer',
  parameters,
  needs: () => ['prefix'],
  produce: (_name, given) => new KvSource(parameters.parse(given)),
}
