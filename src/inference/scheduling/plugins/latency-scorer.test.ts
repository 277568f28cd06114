import { describe, expect, it } from '@jest/globals'
import type { CandidateFacts } from '../testing.ts'
import { pluginScores } from './testing.ts'

const TYPE = 'latency-scorer'
const slo = (ttft: number, tpot: number) => ({ 'x-llm-d-slo-ttft-ms': `${ttft}`, 'x-llm-d-slo-tpot-ms': `${tpot}` })
const scores = (
  facts: readonly CandidateFacts[],
  headers: Readonly<Record<string, string>> = slo(1000, 100),
  parameters = {},
) => pluginScores(TYPE, parameters, facts, headers, { prefixBytes: 256 })

describe(TYPE, () => {
  it('least: fills who just reaches the aims', () => {
    // Headrooms 900/90, 500/50, 100/10: normalised 1, 0.5, 0.
    const facts = [
      { ttft: 100, tpot: 10 },
      { ttft: 500, tpot: 50 },
      { ttft: 900, tpot: 90 },
    ]
    expect(scores(facts)).toEqual([0.01, 0.51, 1.01])
    expect(scores(facts, undefined, { headroomSelectionStrategy: 'most' })).toEqual([1.01, 0.51, 0.01])
  })

  it('weighs the first token and the others', () => {
    const facts = [
      { ttft: 100, tpot: 90 },
      { ttft: 900, tpot: 10 },
    ]
    const most = { headroomSelectionStrategy: 'most' }
    expect(scores(facts, undefined, most)).toEqual([0.81, 0.21])
    expect(scores(facts, undefined, { ...most, ttftWeight: 1, tpotWeight: 3 })).toEqual([0.26, 0.76])
    expect(scores(facts, undefined, { ...most, ttftWeight: 0, tpotWeight: 0 })).toEqual([1.01, 0.01])
  })

  it('lets a time that tells nothing apart count nothing', () => {
    const most = { headroomSelectionStrategy: 'most' }
    const byTpot = [
      { ttft: 100, tpot: 90 },
      { ttft: 100, tpot: 10 },
    ]
    expect(scores(byTpot, undefined, most)).toEqual([0.01, 1.01])
    const same = [byTpot[0]!, byTpot[0]!]
    expect(scores(same, undefined, most)).toEqual([0.51, 0.51])
  })

  it('scores only those that reach both aims, where there are any', () => {
    const facts = [
      { ttft: 2000, tpot: 10 },
      { ttft: 100, tpot: 200 },
      { ttft: 100, tpot: 10 },
    ]
    expect(scores(facts)).toEqual([0, 0, 0.51])
  })

  it('else idle ones, the one that misses least first', () => {
    const facts = [
      { ttft: 1100, tpot: 10, unseen: 1 },
      { ttft: 3000, tpot: 10 },
      { ttft: 2000, tpot: 10 },
    ]
    // By misses of 2000 and 1000.
    expect(scores(facts, undefined, { headroomSelectionStrategy: 'most' })).toEqual([0, 0.01, 1.01])
  })

  it('else those that miss the time per token only, then the first token only, then both', () => {
    const busy = { unseen: 1 }
    const tpot = { ttft: 100, tpot: 200, ...busy }
    const ttft = { ttft: 2000, tpot: 10, ...busy }
    const both = { ttft: 2000, tpot: 200, ...busy }
    expect(scores([both, ttft, tpot])).toEqual([0, 0, 0.51])
    expect(scores([both, ttft, ttft])).toEqual([0, 0.51, 0.51])
    expect(scores([both, both])).toEqual([0.51, 0.51])
  })

  it('without aims every headroom is negative, and the quickest is best', () => {
    const facts = [
      { ttft: 300, tpot: 30, unseen: 1 },
      { ttft: 100, tpot: 10, unseen: 1 },
      { ttft: 200, tpot: 20, unseen: 1 },
    ]
    expect(scores(facts, {})).toEqual([0.01, 1.01, 0.51])
  })

  it('without any prediction goes by KV cache, queue and prefix', () => {
    const facts = [
      { kvUsage: 0.5, waiting: 10, prefix: 1 },
      { kvUsage: 0, waiting: 5, prefix: 0 },
      { kvUsage: 1, waiting: 0, prefix: 0 },
    ]
    expect(scores(facts)).toEqual([0.5, 0.5, 0.33])
    expect(scores(facts, {}, { compositeKVWeight: 1, compositeQueueWeight: 3, compositePrefixWeight: 0 })).toEqual([
      0.13, 0.63, 0.75,
    ])
    const none = { compositeKVWeight: 0, compositeQueueWeight: 0, compositePrefixWeight: 0 }
    expect(scores(facts, {}, none)).toEqual([0.5, 1, 0])
    expect(scores([{ waiting: 0 }], {}, { ...none, compositeQueueWeight: 1 })).toEqual([1])
  })
})
