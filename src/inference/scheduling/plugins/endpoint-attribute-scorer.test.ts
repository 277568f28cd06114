import { describe, expect, it } from '@jest/globals'
import { pluginType } from './registry.ts'
import { pluginScores } from './testing.ts'

const TYPE = 'endpoint-attribute-scorer'
const facts = [{ attributes: { load: 10 } }, { attributes: { load: 15 } }, { attributes: { load: 30 } }, {}]
const scores = (algorithm: unknown, given = facts) => pluginScores(TYPE, { attributeKey: 'load', algorithm }, given)

describe(TYPE, () => {
  it('is linear between the least and the most of the candidates; without the attribute 0', () => {
    expect(scores({ type: 'linear_lower_is_better' })).toEqual([1, 0.75, 0, 0])
    expect(scores({ type: 'linear_higher_is_better', normalization: { adaptiveRange: {} } })).toEqual([0, 0.25, 1, 0])
  })

  it('is 1 for all who have the same', () => {
    const same = [facts[1]!, facts[1]!, {}]
    expect(scores({ type: 'linear_higher_is_better' }, same)).toEqual([1, 1, 0])
    expect(scores({ type: 'linear_lower_is_better' }, same)).toEqual([1, 1, 0])
  })

  it('is clamped to a fixed range', () => {
    const normalization = { fixedRange: { min: 12, max: 18 } }
    expect(scores({ type: 'linear_higher_is_better', normalization })).toEqual([0, 0.5, 1, 0])
    expect(scores({ type: 'linear_lower_is_better', normalization })).toEqual([1, 0.5, 0, 0])
  })

  it.each([
    [{}],
    [{ attributeKey: 'load' }],
    [{ attributeKey: 'load', algorithm: { type: 'cubic' } }],
    [
      {
        attributeKey: 'load',
        algorithm: { type: 'linear_lower_is_better', normalization: { fixedRange: { min: 1, max: 1 } } },
      },
    ],
    [
      {
        attributeKey: 'load',
        algorithm: {
          type: 'linear_lower_is_better',
          normalization: { fixedRange: { min: 0, max: 1 }, adaptiveRange: {} },
        },
      },
    ],
  ])('is nothing with %j', wrong => {
    expect(pluginType(TYPE)!.parameters.safeParse(wrong).success).toBe(false)
  })
})
