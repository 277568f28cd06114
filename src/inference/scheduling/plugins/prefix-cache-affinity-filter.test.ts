import { describe, expect, it } from '@jest/globals'
import { needsOf } from './registry.ts'
import { keptBy } from './testing.ts'

const TYPE = 'prefix-cache-affinity-filter'
const kept = (parameters: Readonly<Record<string, unknown>>, facts: Parameters<typeof keptBy>[2]) =>
  keptBy(TYPE, parameters, facts)
const ALL = [0, 1, 2]

describe(TYPE, () => {
  it('keeps those that hold the prompt', () => {
    expect(kept({}, [{ prefix: 0.79 }, { prefix: 0.8 }, { prefix: 1 }])).toEqual([1, 2])
    expect(kept({ affinityThreshold: 1 }, [{ prefix: 0.79 }, { prefix: 0.8 }, { prefix: 1 }])).toEqual([2])
  })

  it('keeps all where none holds it, or the threshold is 0', () => {
    expect(kept({}, [{ prefix: 0.1 }, {}, {}])).toEqual(ALL)
    expect(kept({ affinityThreshold: 0 }, [{ prefix: 1 }, {}, {}])).toEqual(ALL)
  })

  it('lets the prompt go where its holders have too many tokens in flight', () => {
    // 1000 tokens a second: 18 s are 18,000 tokens.
    const facts = (tokens: number) => [{ prefix: 1, tokens }, { prefix: 1, tokens: 90_000 }, { tokens: 500 }]
    const parameters = { peakPrefillThroughput: 1000 }
    expect(kept(parameters, facts(18_500))).toEqual([0, 1])
    expect(kept(parameters, facts(18_501))).toEqual(ALL)
    expect(kept({ ...parameters, maxTTFTPenaltyMs: 0 }, facts(1_000_000))).toEqual([0, 1])
  })

  it('goes by predictions if told so; who has none is never the fastest', () => {
    const parameters = { ttftSource: 'latencyPredictor', maxTTFTPenaltyMs: 100 }
    expect(kept(parameters, [{ prefix: 1, ttft: 300 }, { ttft: 200 }, {}])).toEqual([0])
    expect(kept(parameters, [{ prefix: 1, ttft: 301 }, { ttft: 200 }, {}])).toEqual(ALL)
    expect(kept(parameters, [{ prefix: 1, ttft: 301 }, {}, {}])).toEqual([0])
  })

  it('explores as often as it is told', () => {
    const facts = [{ prefix: 1 }, {}, {}]
    expect(kept({ explorationProbability: 1 }, facts)).toEqual(ALL)
    const picks = Array.from({ length: 400 }, () => kept({ explorationProbability: 0.5 }, facts).length)
    expect(picks.filter(length => length === 3).length).toBeGreaterThan(100)
    expect(picks.filter(length => length === 1).length).toBeGreaterThan(100)
  })

  it('looks at what its source needs', () => {
    const needs = (parameters: Readonly<Record<string, unknown>>) => needsOf({ type: TYPE, parameters })
    expect(needs({})).toEqual(['prefix', 'in-flight-tokens'])
    expect(needs({ ttftSource: 'latencyPredictor' })).toEqual(['prefix', 'latency'])
    expect(needs({ maxTTFTPenaltyMs: 0 })).toEqual(['prefix'])
  })
})
