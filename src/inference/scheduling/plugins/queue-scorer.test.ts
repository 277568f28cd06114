import { expect, it } from '@jest/globals'
import { pluginScores } from './testing.ts'

it('queue-scorer scores the queues between the shortest and the longest', () => {
  const score = (...waiting: number[]) =>
    pluginScores(
      'queue-scorer',
      {},
      waiting.map(each => ({ waiting: each })),
    )
  expect(score(10, 5, 0)).toEqual([0, 0.5, 1])
  expect(score(5, 5)).toEqual([1, 1])
  expect(score(0)).toEqual([1])
})

it('queue-scorer sees what the scrape saw, and nothing else', () => {
  expect(pluginScores('queue-scorer', {}, [{ waiting: 2 }, { waiting: 0, unseen: 4 }])).toEqual([0, 1])
})
