import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { scorerType } from './plugin-type.ts'

/** 128 requests of 32 Ki tokens. */
const DEFAULT_THRESHOLD = 4_194_304

const parameters = object({
  /** Tokens in flight from which an endpoint scores 0. As llm-d does: 0 or less means the default. */
  queueThresholdTokens: z
    .int()
    .default(DEFAULT_THRESHOLD)
    .transform(tokens => (tokens > 0 ? tokens : DEFAULT_THRESHOLD)),
  inFlightLoadProducerName: z.string().optional(),
})

/** `1 − min(1, (tokens in flight + tokens of this prompt that the endpoint does not hold) / threshold)` (epp.md §3.3). */
export const tokenLoadScorer = scorerType(
  'token-load-scorer',
  parameters,
  ({ queueThresholdTokens }) => ({
    type: 'token-load-scorer',
    score(candidates, _table, out) {
      const { count, tokens } = candidates
      for (let i = 0; i < count; i++)
        out[i] = 1 - Math.min(1, (tokens[i]! + candidates.uncachedTokens(i)) / queueThresholdTokens)
    },
  }),
  () => ['in-flight-tokens'],
)
