import { expect, it } from '@jest/globals'
import { keptBy } from './testing.ts'

const FACTS = [{ labels: { gpu: 'a', zone: '1' } }, { labels: { gpu: 'b', zone: '1' } }, {}]
const keep = (parameters: Record<string, unknown>) => keptBy('label-selector-filter', parameters, FACTS)

it('label-selector-filter selects by labels and expressions', () => {
  expect(keep({})).toEqual([0, 1, 2])
  expect(keep({ matchLabels: { gpu: 'b', zone: '1' } })).toEqual([1])
  expect(keep({ matchLabels: { gpu: 'c' } })).toEqual([])
  const expression = (operator: string, values?: string[]) =>
    keep({ matchExpressions: [{ key: 'gpu', operator, ...(values === undefined ? {} : { values }) }] })
  expect(expression('In', ['a', 'c'])).toEqual([0])
  expect(expression('NotIn', ['a', 'c'])).toEqual([1, 2])
  expect(expression('Exists')).toEqual([0, 1])
  expect(expression('DoesNotExist')).toEqual([2])
  expect(
    keep({ matchLabels: { zone: '1' }, matchExpressions: [{ key: 'gpu', operator: 'NotIn', values: ['a'] }] }),
  ).toEqual([1])
})

it('label-selector-filter refuses expressions that mean nothing', () => {
  for (const expression of [
    { key: 'a', operator: 'Is', values: ['b'] },
    { key: 'a', operator: 'In' },
    { key: 'a', operator: 'Exists', values: ['b'] },
  ])
    expect(() => keep({ matchExpressions: [expression] })).toThrow()
})
