import { describe, expect, it } from '@jest/globals'
import { type CandidateFacts, situation } from '../testing.ts'
import { createAdmitter } from './registry.ts'
import { headersOf } from './testing.ts'

const BOTH = { 'x-llm-d-slo-ttft-ms': '100', 'x-llm-d-slo-tpot-ms': '20' }

function admits(facts: readonly CandidateFacts[], headers: Readonly<Record<string, string>> = BOTH, factor = 1) {
  const { candidates } = situation(facts.map(fact => ({ running: 1, kvUsage: 0.5, ...fact })))
  candidates.headers = headersOf(headers)
  candidates.tpotTargetFactor = factor
  return createAdmitter({ type: 'latency-slo-admitter', parameters: {} }).admits(candidates, -1)
}

const slow = { ttft: 500, tpot: 50 }

describe('latency-slo-admitter', () => {
  it.each<[string, CandidateFacts[], boolean]>([
    ['nobody reaches the aims', [slow, { ttft: 90, tpot: 21 }, { ttft: 101, tpot: 10 }], false],
    ['one does', [slow, { ttft: 100, tpot: 20 }], true],
    ['one is idle', [slow, { ...slow, running: 0 }], true],
    ['one is cold', [slow, { ...slow, kvUsage: 0.019 }], true],
    ['none is cold enough', [slow, { ...slow, kvUsage: 0.02 }], false],
    ['nothing is predicted', [{}, {}], true],
    ['there is nobody', [], false],
  ])('%s: %s', (_, facts, expected) => {
    expect(admits(facts)).toBe(expected)
  })

  it('heeds only the aims that the request names, by either name', () => {
    expect(admits([slow], {})).toBe(true)
    expect(admits([slow], { 'x-slo-ttft-ms': '500' })).toBe(true)
    expect(admits([slow], { 'x-slo-ttft-ms': '499' })).toBe(false)
    expect(admits([slow], { 'x-slo-tpot-ms': '50' })).toBe(true)
    expect(admits([slow], { 'x-slo-tpot-ms': 'soon' })).toBe(true)
  })

  it('takes the aim per token times the factor of the predictions', () => {
    const facts = [{ ttft: 50, tpot: 24 }]
    expect(admits(facts)).toBe(false)
    expect(admits(facts, BOTH, 1.25)).toBe(true)
  })
})
