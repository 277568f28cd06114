import { expect, it } from '@jest/globals'
import { scoresOf } from '../testing.ts'

it('active-request-scorer prefers endpoints with few requests of ours', () => {
  expect(scoresOf('active-request-scorer', [{ unseen: 0 }, { unseen: 1 }, { unseen: 4 }])).toEqual([1, 0.75, 0])
  expect(scoresOf('active-request-scorer', [{ running: 9 }, {}])).toEqual([1, 1])
})
