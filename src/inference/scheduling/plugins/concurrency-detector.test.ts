import { expect, it } from '@jest/globals'
import { keptBy } from './testing.ts'

it('concurrency-detector, as a filter, keeps what has room, even if that is none', () => {
  const keep = (parameters: Record<string, unknown>) =>
    keptBy('concurrency-detector', parameters, [{ unseen: 1 }, { unseen: 2 }, { unseen: 4 }])
  expect(keep({})).toEqual([0, 1, 2])
  expect(keep({ maxConcurrency: 2 })).toEqual([0])
  expect(keep({ maxConcurrency: 2, headroom: 0.5 })).toEqual([0, 1])
  expect(keep({ maxConcurrency: 1 })).toEqual([])
  expect(() => keep({ concurrencyMode: 'tokens' })).toThrow(/is supported yet: tokens in flight/)
})
