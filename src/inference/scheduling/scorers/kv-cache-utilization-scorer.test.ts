import { expect, it } from '@jest/globals'
import { scoresOf } from '../testing.ts'

it('kv-cache-utilization-scorer gives the free share of the cache', () => {
  expect(scoresOf('kv-cache-utilization-scorer', [{ kvUsage: 0 }, { kvUsage: 0.75 }, { kvUsage: 1 }])).toEqual([
    1, 0.25, 0,
  ])
})
