import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import type { Producer } from '../producer.ts'
import type { ProducerType } from './plugin-type.ts'

const parameters = object({
  /** Tokens that the answer will have count too, as estimated from the prompt's, and no more than the client asked for. */
  addEstimatedOutputTokens: z.boolean().default(false),
  /** Tokens of an answer per token of its prompt. */
  outputRatio: z.number().min(0).default(1.5),
  /** No answer counts for more. Default: no limit. */
  maxEstimatedOutputTokens: z.int().min(0).optional(),
  prefixMatchInfoProducerName: z.string().optional(),
})
type Parameters = z.output<typeof parameters>

/**
 * Tokens in flight (epp.md §3.6): a request adds the tokens of its prompt that the endpoint does not hold, and those of its answer if told
 * so; the prompt's are given back when the first event of a stream tells that it was computed, all others when the response ends. They lie in the endpoint table (../../endpoint-counters.ts), for all threads together.
 */
export class InflightLoad implements Producer {
  readonly type = 'inflight-load-producer'
  readonly #given: Parameters

  constructor(given: Parameters) {
    this.#given = given
  }

  produce({ count, slots, tokens }: Candidates, { counters }: EndpointTable): void {
    for (let i = 0; i < count; i++) tokens[i] = counters.tokens(slots[i]!)
  }

  /** What the request adds at this candidate. */
  tokensOf(candidates: Candidates, i: number): number {
    const { prefixMatchInfoProducerName } = this.#given
    return Math.ceil(candidates.uncachedTokens(i, prefixMatchInfoProducerName)) + this.answerTokensOf(candidates)
  }

  /** Of that, what the answer is expected to have. */
  answerTokensOf({ promptTokens, outputCap }: Candidates): number {
    const { addEstimatedOutputTokens, outputRatio, maxEstimatedOutputTokens } = this.#given
    if (!addEstimatedOutputTokens) return 0
    const answer = Math.round(promptTokens * outputRatio)
    return Math.min(answer, outputCap, maxEstimatedOutputTokens ?? answer)
  }
}

export const inflightLoadProducer: ProducerType = {
  type: 'inflight-load-producer',
  role: 'producer',
  parameters,
  needs: given => {
    const { addEstimatedOutputTokens } = parameters.parse(given)
    return addEstimatedOutputTokens ? ['prompt', 'prefix', 'output-cap'] : ['prompt', 'prefix']
  },
  produce: (_name, given) => new InflightLoad(parameters.parse(given)),
}
