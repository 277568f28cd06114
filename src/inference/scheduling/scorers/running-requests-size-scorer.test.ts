import { describe, expect, it } from '@jest/globals'
import { scoresOf } from '../testing.ts'

describe('running-requests-size-scorer', () => {
  it('prefers the smallest batch, unseen decisions included', () => {
    const facts = [{ running: 8 }, { running: 2, unseen: 2 }, { running: 0 }]
    expect(scoresOf('running-requests-size-scorer', facts)).toEqual([0, 0.5, 1])
  })

  it('is indifferent when all batches are equal', () => {
    expect(scoresOf('running-requests-size-scorer', [{ running: 1 }, { unseen: 1 }])).toEqual([1, 1])
  })
})
