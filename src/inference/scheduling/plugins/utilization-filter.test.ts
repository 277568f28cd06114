import { expect, it } from '@jest/globals'
import { keptBy } from './testing.ts'

const FACTS = [
  { waiting: 4, kvUsage: 0.5 },
  { waiting: 5, kvUsage: 0.9 },
  { running: 3, unseen: 2 },
]

it('utilization-filter keeps what holds all conditions', () => {
  const keep = (...conditions: unknown[]) => keptBy('utilization-filter', { conditions }, FACTS)
  expect(keep({ metric: 'waiting-queue', maxValue: 4 })).toEqual([0, 2])
  expect(keep({ metric: 'running-requests', maxValue: 2 })).toEqual([0, 1])
  expect(keep({ metric: 'active-requests', maxValue: 1 })).toEqual([0, 1])
  expect(keep({ metric: 'kv-cache-utilization', maxValue: 0.4 }, { metric: 'active-requests', maxValue: 1 })).toEqual(
    [],
  )
})

it('utilization-filter keeps all rather than none where it is told so', () => {
  const conditions = [
    { metric: 'kv-cache-utilization', maxValue: 0 },
    { metric: 'running-requests', maxValue: 0 },
  ]
  expect(keptBy('utilization-filter', { conditions }, FACTS)).toEqual([])
  expect(keptBy('utilization-filter', { conditions, fallbackOnEmpty: true }, FACTS)).toEqual([0, 1, 2])
})
