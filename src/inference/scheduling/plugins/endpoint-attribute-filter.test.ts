import { describe, expect, it } from '@jest/globals'
import { pluginType } from './registry.ts'
import { keptBy } from './testing.ts'

const TYPE = 'endpoint-attribute-filter'
const facts = [1, 2, 3].map(load => ({ attributes: { load } }))
const parameters = (operator: string, value: number, more = {}) => ({
  attribute: 'load',
  algorithm: { type: 'threshold', threshold: { operator, value } },
  ...more,
})

describe(TYPE, () => {
  it.each([
    ['LessThan', [0]],
    ['LessThanOrEqual', [0, 1]],
    ['GreaterThan', [2]],
    ['GreaterThanOrEqual', [1, 2]],
    ['Equal', [1]],
    ['NotEqual', [0, 2]],
  ])('%s 2', (operator, kept) => {
    expect(keptBy(TYPE, parameters(operator, 2), facts)).toEqual(kept)
  })

  it('keeps endpoints without the attribute, or drops them', () => {
    const some = [...facts, {}]
    expect(keptBy(TYPE, parameters('LessThan', 2), some)).toEqual([0, 3])
    expect(keptBy(TYPE, parameters('LessThan', 2, { onMissing: 'Fail' }), some)).toEqual([0])
  })

  it('may leave none, or all instead', () => {
    expect(keptBy(TYPE, parameters('LessThan', 0), facts)).toEqual([])
    expect(keptBy(TYPE, parameters('LessThan', 0, { fallbackOnEmpty: true }), facts)).toEqual([0, 1, 2])
  })

  it('passes all where nothing tells of the attribute', () => {
    expect(keptBy(TYPE, { ...parameters('LessThan', 0), attribute: 'other' }, facts)).toEqual([0, 1, 2])
  })

  it.each([
    [{ attribute: '' }],
    [{ attribute: 'load/dcgm-extractor' }],
    [{ onMissing: 'Maybe' }],
    [{ algorithm: { type: 'topK' } }],
    [{ algorithm: { type: 'threshold' } }],
    [{ algorithm: { type: 'threshold', threshold: { operator: 'About', value: 1 } } }],
    [{ attributeKey: 'load' }],
  ])('is nothing with %j', wrong => {
    expect(pluginType(TYPE)!.parameters.safeParse({ ...parameters('Equal', 1), ...wrong }).success).toBe(false)
  })
})
