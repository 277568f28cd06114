import { expect, it } from '@jest/globals'
import { pluginScores } from './testing.ts'

it('active-request-scorer prefers endpoints with few requests of ours', () => {
  const facts = [{}, { unseen: 1 }, { unseen: 4 }]
  expect(pluginScores('active-request-scorer', {}, facts)).toEqual([1, 0.75, 0])
  expect(pluginScores('active-request-scorer', { idleThreshold: 1, maxBusyScore: 0.5 }, facts)).toEqual([1, 1, 0])
  expect(pluginScores('active-request-scorer', { maxBusyScore: 0.5 }, facts)).toEqual([1, 0.375, 0])
})
