import { expect, it } from '@jest/globals'
import { pluginScores, ScorerPlay } from './testing.ts'

const FACTS = [{ prefix: 0.5 }, { prefix: 1 }, {}]

it('prefix-cache-scorer gives the share of the prompt that is cached, whatever the load', () => {
  expect(pluginScores('prefix-cache-scorer', {}, FACTS)).toEqual([0.5, 1, 0])
  expect(pluginScores('prefix-cache-scorer', {}, [{ prefix: 1, waiting: 99 }, {}])).toEqual([1, 0])
})

it('prefix-cache-scorer weighs in the square of the matched length', () => {
  // 4096 tokens, a half of them matched.
  const play = (parameters: Record<string, unknown>) =>
    new ScorerPlay('prefix-cache-scorer', parameters, FACTS).prefixBytes(4 * 4096).scores()
  expect(play({ matchLengthWeight: 1 })).toEqual([0.0625, 0.25, 0])
  expect(play({ matchLengthWeight: 0.5, matchLengthScaleTokens: 2048 })).toEqual([0.75, 1, 0])
})
