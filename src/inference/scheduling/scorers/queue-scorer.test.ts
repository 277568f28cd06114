import { describe, expect, it } from '@jest/globals'
import { scoresOf } from '../testing.ts'

describe('queue-scorer', () => {
  it('prefers the shortest queue', () => {
    expect(scoresOf('queue-scorer', [{ waiting: 0 }, { waiting: 5 }, { waiting: 10 }])).toEqual([1, 0.5, 0])
  })

  it('is indifferent when all queues are equal', () => {
    expect(scoresOf('queue-scorer', [{ waiting: 3 }, { waiting: 3 }])).toEqual([1, 1])
    expect(scoresOf('queue-scorer', [{ waiting: 3 }])).toEqual([1])
  })

  it('counts decisions that no scrape has seen', () => {
    expect(scoresOf('queue-scorer', [{ waiting: 2 }, { waiting: 0, unseen: 4 }])).toEqual([1, 0])
  })
})
