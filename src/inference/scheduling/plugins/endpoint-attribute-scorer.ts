import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { attributeKey, producer } from './endpoint-attribute.ts'
import { scorerType } from './plugin-type.ts'

const parameters = object(
  {
    attributeKey,
    producer,
    algorithm: object({
      type: z.enum(['linear_lower_is_better', 'linear_higher_is_better']),
      normalization: object({
        fixedRange: object({ min: z.number(), max: z.number() })
          .refine(({ min, max }) => min < max, 'min must be less than max')
          .optional(),
        adaptiveRange: object({}).optional(),
      })
        .refine(
          ({ fixedRange, adaptiveRange }) => fixedRange === undefined || adaptiveRange === undefined,
          'either fixedRange or adaptiveRange',
        )
        .default({}),
    }),
  },
  { attribute: 'the scorer calls it "attributeKey"' },
)

/**
 * Linear between the ends of a range: the configured one, or that of the candidates, among whom all are 1 where all have the same. Without
 * the attribute: 0 (epp.md §3.3).
 */
export const endpointAttributeScorer = scorerType('endpoint-attribute-scorer', parameters, given => {
  const { type, normalization } = given.algorithm
  const lower = type === 'linear_lower_is_better'
  const fixed = normalization.fixedRange
  let index = -1
  return {
    type: 'endpoint-attribute-scorer',
    adopt(table) {
      index = table.attributeIndex(given.attributeKey)
    },
    score({ count, slots }, table, out) {
      let min = fixed === undefined ? Number.POSITIVE_INFINITY : fixed.min
      let max = fixed === undefined ? Number.NEGATIVE_INFINITY : fixed.max
      for (let i = 0; i < count; i++) {
        const value = table.attribute(slots[i]!, index)
        out[i] = value
        if (fixed !== undefined || Number.isNaN(value)) continue
        if (value < min) min = value
        if (value > max) max = value
      }
      for (let i = 0; i < count; i++) {
        const value = out[i]!
        if (Number.isNaN(value)) out[i] = 0
        else if (max === min) out[i] = 1
        else {
          const share = Math.min(1, Math.max(0, (value - min) / (max - min)))
          out[i] = lower ? 1 - share : share
        }
      }
    },
  }
})
