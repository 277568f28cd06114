import { expect, it } from '@jest/globals'
import { createScorer, SCORER_TYPES, UnknownScorerError } from './registry.ts'

it('creates every scorer under its own name', () => {
  expect(SCORER_TYPES.map(type => createScorer(type).type)).toEqual(SCORER_TYPES)
})

it('names the known scorers when it knows no such one', () => {
  for (const type of ['quue-scorer', 'constructor', '']) {
    expect(() => createScorer(type)).toThrow(UnknownScorerError)
    expect(() => createScorer(type)).toThrow(/prefix-cache-scorer.*queue-scorer/)
  }
})
