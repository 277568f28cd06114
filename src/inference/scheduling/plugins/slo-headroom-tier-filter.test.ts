import { describe, expect, it } from '@jest/globals'
import { keptBy } from './testing.ts'

const TYPE = 'slo-headroom-tier-filter'
const facts = [{ ttft: 100, tpot: 10 }, { ttft: 200, tpot: 10 }, { ttft: 100, tpot: 50 }, {}]
const never = { epsilonExploreNeg: 0 }
const slo = (ttft: string, tpot: string) => ({ 'x-llm-d-slo-ttft-ms': ttft, 'x-llm-d-slo-tpot-ms': tpot })

describe(TYPE, () => {
  it('keeps those that reach both aims', () => {
    expect(keptBy(TYPE, never, facts, slo('150', '20'))).toEqual([0])
    expect(keptBy(TYPE, never, facts, slo('200', '50.5'))).toEqual([0, 1, 2])
  })

  it('reads the former names, which the present ones overrule', () => {
    const former = { 'x-slo-ttft-ms': '150', 'x-slo-tpot-ms': '20' }
    expect(keptBy(TYPE, never, facts, former)).toEqual([0])
    expect(keptBy(TYPE, never, facts, { ...former, 'x-llm-d-slo-ttft-ms': '250' })).toEqual([0, 1])
  })

  it('keeps all where none reaches them, none is asked for, or nothing is predicted', () => {
    expect(keptBy(TYPE, never, facts, slo('1', '1'))).toEqual([0, 1, 2, 3])
    for (const headers of [{}, slo('soon', '-1'), slo('150', '0')])
      expect(keptBy(TYPE, never, facts, headers)).toEqual([0, 1, 2, 3])
    expect(keptBy(TYPE, never, [{}, {}], slo('150', '20'))).toEqual([0, 1])
  })

  it('now and then keeps the others instead', () => {
    expect(keptBy(TYPE, { epsilonExploreNeg: 1 }, facts, slo('150', '20'))).toEqual([1, 2, 3])
    const picks = Array.from({ length: 400 }, () => keptBy(TYPE, { epsilonExploreNeg: 0.5 }, facts, slo('150', '20')))
    expect(picks.filter(({ length }) => length === 3).length).toBeGreaterThan(100)
    expect(picks.filter(({ length }) => length === 1).length).toBeGreaterThan(100)
  })
})
