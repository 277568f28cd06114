import { describe, expect, it } from '@jest/globals'
import { pluginScores } from './testing.ts'

const TYPE = 'token-load-scorer'

describe(TYPE, () => {
  it('falls with the tokens in flight, to 0 at the threshold', () => {
    const facts = [{ tokens: 0 }, { tokens: 250 }, { tokens: 1000 }, { tokens: 5000 }]
    expect(pluginScores(TYPE, { queueThresholdTokens: 1000 }, facts)).toEqual([1, 0.75, 0, 0])
  })

  it('counts those of the prompt that the endpoint does not hold', () => {
    // 400 tokens of 500 were looked up, as 1600 bytes.
    const request = { promptTokens: 500, prefixBytes: 1600 }
    const facts = [{ tokens: 100, prefix: 1 }, { tokens: 100, prefix: 0.5 }, { tokens: 100 }]
    expect(pluginScores(TYPE, { queueThresholdTokens: 1000 }, facts, {}, request)).toEqual([0.8, 0.6, 0.4])
  })

  it('has 4,194,304 tokens as its threshold, and in the place of one that makes no sense', () => {
    for (const parameters of [{}, { queueThresholdTokens: 0 }, { queueThresholdTokens: -5 }])
      expect(pluginScores(TYPE, parameters, [{ tokens: 1_048_576 }])).toEqual([0.75])
  })
})
