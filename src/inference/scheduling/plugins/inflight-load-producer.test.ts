import { describe, expect, it } from '@jest/globals'
import type { NamedPluginPlan } from '../../pool-plan.ts'
import { situation } from '../testing.ts'
import { InflightLoad, inflightLoadProducer } from './inflight-load-producer.ts'
import { createProducer, needsOf } from './registry.ts'

const TYPE = 'inflight-load-producer'

function producer(parameters: NamedPluginPlan['parameters']): InflightLoad {
  const made = createProducer({ name: TYPE, type: TYPE, parameters })
  if (!(made instanceof InflightLoad)) throw new Error('another producer')
  return made
}

describe('inflight-load-producer (epp.md §3.6, §8.3)', () => {
  const ANSWERS = { addEstimatedOutputTokens: true }

  it.each<[number, number | undefined, NamedPluginPlan['parameters'], number]>([
    // The prompt's tokens times the ratio, rounded.
    [100, undefined, {}, 150],
    [3, undefined, {}, 5],
    [100, undefined, { outputRatio: 0.25 }, 25],
    [0, 40, {}, 0],
    // No more than the client asked for; 0 is something that it asked for.
    [100, 40, {}, 40],
    [100, 0, {}, 0],
    [100, 149, {}, 149],
    [100, 150, {}, 150],
    [100, 400, {}, 150],
    // Nor than the operator lets count.
    [100, undefined, { maxEstimatedOutputTokens: 60 }, 60],
    [100, 40, { maxEstimatedOutputTokens: 60 }, 40],
    [100, 80, { maxEstimatedOutputTokens: 60 }, 60],
    [100, 80, { maxEstimatedOutputTokens: 0 }, 0],
    [100, 80, { outputRatio: 0 }, 0],
  ])('prompt %d, cap %s, %j: %d of the answer', (promptTokens, outputCap, parameters, expected) => {
    const { candidates } = situation([{}])
    candidates.promptTokens = promptTokens
    if (outputCap !== undefined) candidates.outputCap = outputCap
    const made = producer({ ...ANSWERS, ...parameters })
    expect(made.answerTokensOf(candidates)).toBe(expected)
    expect(made.tokensOf(candidates, 0)).toBe(promptTokens + expected)
  })

  it('counts the whole prompt for the answer, and what the endpoint does not hold for the prompt', () => {
    const { candidates } = situation([{ prefix: 0.5 }])
    Object.assign(candidates, { promptTokens: 100, prefixBytes: 256, outputCap: 120 })
    expect(producer(ANSWERS).tokensOf(candidates, 0)).toBe(100 - 32 + 120)
  })

  it('asks for caps where answers count, and only there', () => {
    const needs = (parameters: NamedPluginPlan['parameters']) => needsOf({ type: TYPE, parameters })
    expect(needs(ANSWERS)).toContain('output-cap')
    expect(needs({})).not.toContain('output-cap')
    const { candidates } = situation([{}])
    Object.assign(candidates, { promptTokens: 100, outputCap: 40 })
    expect(producer({}).tokensOf(candidates, 0)).toBe(100)
  })

  it.each([{ outputRatio: -1 }, { maxEstimatedOutputTokens: -1 }, { maxEstimatedOutputTokens: 1.5 }, { other: 1 }])(
    'refuses %j',
    parameters => {
      expect(inflightLoadProducer.parameters.safeParse(parameters).success).toBe(false)
    },
  )
})
