import { describe, expect, it } from '@jest/globals'
import { scoresOf } from '../testing.ts'

const score = (...facts: Parameters<typeof scoresOf>[1]) => scoresOf('prefix-cache-scorer', facts)

describe('prefix-cache-scorer', () => {
  it('gives the share of the prompt that is cached', () => {
    expect(score({ prefix: 0.5 }, { prefix: 1 }, {})).toEqual([0.5, 1, 0])
  })

  it('yields as soon as the endpoint queues and another does not', () => {
    expect(score({ prefix: 1, waiting: 1 }, { prefix: 0 })).toEqual([0, 0])
    expect(score({ prefix: 1, running: 3 }, { prefix: 0 })).toEqual([1, 0])
  })

  it('bears small differences when all are queueing', () => {
    expect(score({ prefix: 1, waiting: 12 }, { waiting: 10 })).toEqual([1, 0])
    expect(score({ prefix: 1, waiting: 14 }, { waiting: 10 })).toEqual([0, 0])
  })

  it('yields when it has got much more than the least loaded, seen or unseen', () => {
    expect(score({ prefix: 1, running: 6 }, {})[0]).toBe(1)
    expect(score({ prefix: 1, running: 7 }, {})[0]).toBe(0)
    expect(score({ prefix: 1, running: 2, unseen: 5 }, {})[0]).toBe(0)
    expect(score({ prefix: 1, running: 40 }, { running: 20 })[0]).toBe(1)
    expect(score({ prefix: 1, running: 41 }, { running: 20 })[0]).toBe(0)
  })
})
