import { expect, it } from '@jest/globals'
import { pluginScores } from './testing.ts'

it('running-requests-size-scorer scores the batches between the smallest and the largest', () => {
  const score = (...running: number[]) =>
    pluginScores(
      'running-requests-size-scorer',
      {},
      running.map(each => ({ running: each, unseen: 1 })),
    )
  expect(score(8, 2, 0)).toEqual([0, 0.75, 1])
  expect(score(5, 5)).toEqual([1, 1])
})
