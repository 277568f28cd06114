import { expect, it } from '@jest/globals'
import { keptBy } from './testing.ts'

it('concurrency-detector, as a filter, keeps what has room, even if that is none', () => {
  const keep = (parameters: Record<string, unknown>) =>
    keptBy('concurrency-detector', parameters, [
      { unseen: 1, tokens: 5000 },
      { unseen: 2, tokens: 999 },
      { unseen: 4, tokens: 1000 },
    ])
  expect(keep({})).toEqual([0, 1, 2])
  expect(keep({ maxConcurrency: 2 })).toEqual([0])
  expect(keep({ maxConcurrency: 2, headroom: 0.5 })).toEqual([0, 1])
  expect(keep({ maxConcurrency: 1 })).toEqual([])
  const tokens = { concurrencyMode: 'tokens', maxConcurrency: 1, maxTokenConcurrency: 1000 }
  expect(keep(tokens)).toEqual([1])
  expect(keep({ ...tokens, headroom: 0.1 })).toEqual([1, 2])
  expect(keep({ ...tokens, concurrencyMode: 'hybrid', maxConcurrency: 3 })).toEqual([1])
  expect(keep({ ...tokens, concurrencyMode: 'hybrid', maxConcurrency: 2 })).toEqual([])
  expect(() => keep({ concurrencyMode: 'bytes' })).toThrow(/requests.*tokens.*hybrid/)
})
