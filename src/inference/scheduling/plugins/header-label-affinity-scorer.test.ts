import { expect, it } from '@jest/globals'
import { pluginScores } from './testing.ts'

it('header-label-affinity-scorer compares a header with a label', () => {
  const parameters = { headerName: 'X-Zone', labelKey: 'zone' }
  const facts = [{ labels: { zone: 'a' } }, { labels: { zone: 'b' } }, {}]
  const score = (headers: Record<string, string>) =>
    pluginScores('header-label-affinity-scorer', parameters, facts, headers)
  expect(score({ 'x-zone': 'b' })).toEqual([0, 1, 0])
  expect(score({ 'x-zone': 'c' })).toEqual([0, 0, 0])
  expect(score({})).toEqual([0, 0, 0])
})
