import { expect, it } from '@jest/globals'
import { pluginScores } from './testing.ts'

it('kv-cache-utilization-scorer gives the free share of the cache', () => {
  const facts = [{ kvUsage: 0.25 }, { kvUsage: 1 }, {}]
  expect(pluginScores('kv-cache-utilization-scorer', {}, facts)).toEqual([0.75, 0, 1])
})
