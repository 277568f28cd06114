import { expect, it, jest } from '@jest/globals'
import { ScorerPlay } from './testing.ts'

it('no-hit-lru-scorer sends cold requests to unused endpoints, then to those used longest ago', () => {
  const play = new ScorerPlay('no-hit-lru-scorer', {}, [{}, {}, {}])
  expect(play.scores()).toEqual([1, 0.5, 0])
  play.pick(0)
  expect(play.scores()).toEqual([0, 1, 0.5])
  play.pick(2)
  expect(play.scores()).toEqual([0.5, 1, 0])
  play.pick(0)
  expect(play.scores()).toEqual([0, 1, 0.5])
})

it('no-hit-lru-scorer leaves warm requests alone, and they leave no trace', () => {
  const play = new ScorerPlay('no-hit-lru-scorer', {}, [{}, {}])
  expect(play.scores({ prefix: [0, 0.1] })).toEqual([0.5, 0.5])
  play.pick(0)
  expect(play.scores({ prefix: [0, 0] })).toEqual([1, 0])
})

it('no-hit-lru-scorer has a score for the only endpoint', () => {
  expect(new ScorerPlay('no-hit-lru-scorer', {}, [{}]).scores()).toEqual([1])
})

it('no-hit-lru-scorer sorts the candidates, however many slots the table has', () => {
  const sort = jest.spyOn(Float64Array.prototype, 'sort')
  try {
    expect(new ScorerPlay('no-hit-lru-scorer', {}, [{}, {}, {}]).scores()).toEqual([1, 0.5, 0])
    expect(sort.mock.contexts.map(sorted => (sorted as Float64Array).length)).toEqual([3])
  } finally {
    sort.mockRestore()
  }
})
