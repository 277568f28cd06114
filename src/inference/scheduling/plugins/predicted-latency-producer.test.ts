import { describe, expect, it } from '@jest/globals'
import { type CandidateFacts, situation } from '../testing.ts'
import { createProducer, pluginType } from './registry.ts'

const TYPE = 'predicted-latency-producer'

interface Learned {
  readonly prefillMs?: number
  readonly prefillFactor?: number
  readonly residence?: number
  readonly largestBatch?: number
  readonly decodeLearned?: number
  readonly decodeFactor?: number
}

function play(parameters: Record<string, unknown>, facts: readonly CandidateFacts[], learned: Learned = {}) {
  const { candidates, table } = situation(facts)
  const producer = createProducer({ name: TYPE, type: TYPE, parameters })!
  producer.attach?.(new Int32Array(producer.sharedWords?.(table.capacity) ?? 0))
  const { estimates } = table
  estimates.prefillMs[0] = learned.prefillMs ?? 0.1
  estimates.prefillFactor.fill(learned.prefillFactor ?? 1)
  estimates.residence.fill(learned.residence ?? 2000)
  estimates.largestBatch[0] = learned.largestBatch ?? 0
  estimates.decodeBaseMs[0] = 10
  estimates.decodePerRequestMs[0] = 0.5
  estimates.decodeLearned[0] = learned.decodeLearned ?? 10
  estimates.decodeFactor.fill(learned.decodeFactor ?? 1)
  candidates.promptTokens = 1000
  candidates.prefixBytes = 4000
  candidates.nowMs = 5000
  const times = () => {
    producer.produce(candidates, table)
    const { count, ttft, tpot } = candidates
    return Array.from({ length: count }, (_, i) => [ttft[i]!, tpot[i]!].map(ms => Math.round(ms * 100) / 100))
  }
  const choose = (i: number): void => {
    producer.chosen!(candidates, table, i)
    candidates.inFlight[i]!++
  }
  return { times, choose, candidates }
}

const streaming = { streamingMode: true }

describe(TYPE, () => {
  it('TTFT is uncached prefill and a step, TPOT the line over the batch with this request in it', () => {
    // (150 + 1000) × 0.1 ms + 10.5; (150 + 250) × 0.1 + 12.5, with four in the batch before.
    expect(play(streaming, [{}, { running: 4, prefix: 0.75 }, { running: 2, unseen: 2 }]).times()).toEqual([
      [125.5, 10.5],
      [52.5, 12.5],
      [127.5, 12.5],
    ])
  })

  it('goes by the factors of the replica', () => {
    const [time] = play(streaming, [{}], { prefillFactor: 2, decodeFactor: 3 }).times()
    expect(time).toEqual([230 + 31.5, 31.5])
  })

  it('turns of the queue come first; a batch is no larger than the largest seen', () => {
    // 10 + 6 + 1 − 8 requests before there is room, a turn of 2000 / 8 ms each.
    const [time] = play(streaming, [{ running: 10, waiting: 6 }], { largestBatch: 8 }).times()
    expect(time).toEqual([9 * 250 + 115 + 14, 14])
  })

  it('prefills that were decided come before one that is decided now', () => {
    const { times, choose, candidates } = play(streaming, [{}, {}])
    choose(0)
    choose(0)
    // Two more in the batch cost half a millisecond a step each.
    expect(times()).toEqual([
      [126.5 + 230, 11.5],
      [125.5, 10.5],
    ])
    candidates.inFlight[0] = 0
    expect(times()[0]).toEqual([125.5, 10.5])
    candidates.inFlight[0] = 2
    candidates.nowMs += 1000
    expect(times()[0]).toEqual([126.5, 11.5])
  })

  it('without streaming the first token comes with the last', () => {
    expect(play({}, [{}, {}], { residence: 900 }).times()).toEqual([
      [900, 0],
      [900, 0],
    ])
  })

  it('predicts nothing before times per token are known, or when told so', () => {
    const nothing = [[Number.NaN, Number.NaN]]
    expect(play(streaming, [{ ttft: 3, tpot: 3 }], { decodeLearned: 3 }).times()).toEqual(nothing)
    expect(play({ predictInProduce: false }, [{}]).times()).toEqual(nothing)
  })

  it('sets the factor of the aim for the time per token', () => {
    const { times, candidates } = play({ ...streaming, sloBufferFactor: 0.8 }, [{}])
    times()
    expect(candidates.tpotTargetFactor).toBe(0.8)
  })

  it.each([[{ sloBufferFactor: 0 }], [{ streamingMode: 'yes' }], [{ url: 'http://localhost:8000' }]])(
    'is nothing with %j',
    wrong => {
      expect(pluginType(TYPE)!.parameters.safeParse(wrong).success).toBe(false)
    },
  )
})
