import { expect, it } from '@jest/globals'
import { pluginScores } from './testing.ts'

it('load-aware-scorer falls from a half to nothing at the threshold', () => {
  const facts = [{ waiting: 0 }, { waiting: 32 }, { waiting: 128 }, { waiting: 200 }]
  expect(pluginScores('load-aware-scorer', {}, facts)).toEqual([0.5, 0.375, 0, 0])
  expect(pluginScores('load-aware-scorer', { threshold: 64 }, facts)).toEqual([0.5, 0.25, 0, 0])
})

it('load-aware-scorer refuses a threshold that is none', () => {
  expect(() => pluginScores('load-aware-scorer', { threshold: 0 }, [])).toThrow(/threshold/)
})
