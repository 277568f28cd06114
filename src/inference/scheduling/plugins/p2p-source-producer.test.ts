import { describe, expect, it } from '@jest/globals'
import { type CandidateFacts, situation } from '../testing.ts'
import { KvSource } from './p2p-source-producer.ts'
import { pluginType } from './registry.ts'

/** Sources of a request of 1000 tokens that this endpoint computes, of so many tries. */
function sources(facts: readonly CandidateFacts[], computing: number, minCachedTokenDelta = 1, tries = 300): number[] {
  const { candidates, table } = situation(facts)
  const producer = new KvSource({ minCachedTokenDelta, prefillProfileName: 'prefill' }, 7)
  candidates.prefixBytes = 4000
  producer.adopt(table)
  const counts = [0, 0, 0, 0]
  for (let i = 0; i < tries; i++) {
    producer.produce(candidates)
    const source = producer.sourceFor(computing)
    counts[source < 0 ? 3 : source]!++
  }
  return counts
}

describe('p2p-source-producer', () => {
  it('names who holds most, to those that hold less', () => {
    const facts = [{ prefix: 0.9 }, { prefix: 0.5 }, {}]
    expect(sources(facts, 2)).toEqual([300, 0, 0, 0])
    expect(sources(facts, 1)).toEqual([300, 0, 0, 0])
    expect(sources(facts, 0)).toEqual([0, 0, 0, 300])
  })

  it('only where that saves enough', () => {
    const facts = [{ prefix: 0.9 }, { prefix: 0.5 }, {}]
    expect(sources(facts, 1, 400)[0]).toBe(300)
    expect(sources(facts, 1, 401)[3]).toBe(300)
    expect(sources([{}, {}, {}], 0)[3]).toBe(300)
  })

  it('chooses among those that hold about as much, rather one with a short queue', () => {
    const [first, second, third] = sources([{ prefix: 0.9 }, { prefix: 0.85, waiting: 3 }, {}], 2)
    expect(third).toBe(0)
    // 1 : 1/4
    expect(first! / second!).toBeGreaterThan(2.5)
    expect(first! / second!).toBeLessThan(7)
  })

  it.each([[{ minCachedTokenDelta: 0 }], [{ prefillProfileName: 'other' }], [{ x: 1 }]])(
    'is nothing with %j',
    wrong => {
      expect(pluginType('p2p-source-producer')!.parameters.safeParse(wrong).success).toBe(false)
    },
  )
})
