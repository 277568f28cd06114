import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { attributeKey, producer } from './endpoint-attribute.ts'
import { filterType } from './plugin-type.ts'

const OPERATORS = {
  LessThan: (value: number, limit: number) => value < limit,
  LessThanOrEqual: (value: number, limit: number) => value <= limit,
  GreaterThan: (value: number, limit: number) => value > limit,
  GreaterThanOrEqual: (value: number, limit: number) => value >= limit,
  Equal: (value: number, limit: number) => value === limit,
  NotEqual: (value: number, limit: number) => value !== limit,
} as const

const parameters = object(
  {
    attribute: attributeKey,
    producer,
    /** What becomes of endpoints that do not have the attribute. */
    onMissing: z.enum(['Pass', 'Fail']).default('Pass'),
    /** Keep all where none would stay. */
    fallbackOnEmpty: z.boolean().default(false),
    algorithm: object({
      type: z.literal('threshold', 'must be "threshold"'),
      threshold: object({
        operator: z.enum(Object.keys(OPERATORS) as (keyof typeof OPERATORS)[]),
        value: z.number(),
      }),
    }),
  },
  { attributeKey: 'the filter calls it "attribute"' },
)

/** Keeps endpoints whose attribute holds the comparison (epp.md §3.2). */
export const endpointAttributeFilter = filterType('endpoint-attribute-filter', parameters, given => {
  const { operator, value: limit } = given.algorithm.threshold
  const holds = OPERATORS[operator]
  const whenMissing = given.onMissing === 'Pass' ? 1 : 0
  let index = -1
  return {
    type: 'endpoint-attribute-filter',
    adopt(table) {
      index = table.attributeIndex(given.attribute)
    },
    filter({ count, slots }, table, kept) {
      let any = 0
      for (let i = 0; i < count; i++) {
        const value = table.attribute(slots[i]!, index)
        any |= kept[i] = Number.isNaN(value) ? whenMissing : holds(value, limit) ? 1 : 0
      }
      if (any === 0 && given.fallbackOnEmpty) kept.fill(1, 0, count)
    },
  }
})
