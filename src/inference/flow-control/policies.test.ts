import { describe, expect, it } from '@jest/globals'
import { Band } from './band.ts'
import { serviceOf } from './program-aware-fairness.ts'
import { FlowEntry, type FlowRequest } from './flow-entry.ts'
import { createUsageLimit } from './flow-plugins.ts'
import type { BandPlan } from './flow-plan.ts'

class TestEntry extends FlowEntry {
  readonly name: string

  constructor(name: string, request: Partial<FlowRequest> & { readonly arrivedAt?: number } = {}) {
    super({
      priority: 0,
      fairnessId: 'f',
      bytes: 100,
      timeoutMs: Number.POSITIVE_INFINITY,
      ttftTargetMs: Number.POSITIVE_INFINITY,
      ...request,
    })
    this.name = name
    this.arrivedAt = request.arrivedAt ?? 0
  }

  dispatched(): void {}
  refused(): void {}
}

const plan = (fairness: string, ordering = 'fcfs-ordering-policy', parameters = {}): BandPlan => ({
  priority: 0,
  maxBytes: 1e9,
  maxRequests: 5000,
  fairness: { type: fairness, parameters },
  ordering: { type: ordering, parameters: {} },
})
const GLOBAL = 'global-strict-fairness-policy'

/** The order in which the band sends these. */
function order(band: Band, entries: readonly TestEntry[], nowMs = 0, ttlMs = 60_000): string[] {
  for (const [index, entry] of entries.entries()) {
    entry.sequence = index
    band.push(entry, ttlMs)
  }
  return drain(band, nowMs)
}

function drain(band: Band, nowMs = 0): string[] {
  const names: string[] = []
  while (band.size > 0) names.push((band.next(nowMs) as TestEntry).name)
  return names
}

describe('ordering', () => {
  it('fcfs: as they came, also after some have gone from the middle', () => {
    const entries = Array.from({ length: 50 }, (_, i) => new TestEntry(String(i)))
    const band = new Band(plan(GLOBAL), 0)
    for (const [index, entry] of entries.entries()) {
      entry.sequence = index
      band.push(entry, 0)
    }
    for (const gone of [0, 7, 49, 20]) band.remove(entries[gone]!)
    expect(band.size).toBe(46)
    const kept = entries.map(({ name }) => name).filter(name => !['0', '7', '49', '20'].includes(name))
    expect(drain(band)).toEqual(kept)
  })

  it('edf: whose time is up first; without a time of their own all have the same', () => {
    const entries = [
      new TestEntry('patient', { arrivedAt: 0 }),
      new TestEntry('hurried', { arrivedAt: 50, timeoutMs: 100 }),
      new TestEntry('later', { arrivedAt: 100 }),
      new TestEntry('most hurried', { arrivedAt: 100, timeoutMs: 10 }),
    ]
    const band = new Band(plan(GLOBAL, 'edf-ordering-policy'), 0)
    expect(order(band, entries)).toEqual(['most hurried', 'hurried', 'patient', 'later'])
  })

  it('slo-deadline: arrival and the target for the first token; who said none comes last', () => {
    const entries = [
      new TestEntry('whenever', { arrivedAt: 0 }),
      new TestEntry('1 s', { arrivedAt: 0, ttftTargetMs: 1000 }),
      new TestEntry('200 ms', { arrivedAt: 500, ttftTargetMs: 200 }),
      new TestEntry('whenever too', { arrivedAt: 1 }),
    ]
    const band = new Band(plan(GLOBAL, 'slo-deadline-ordering-policy'), 0)
    expect(order(band, entries)).toEqual(['200 ms', '1 s', 'whenever', 'whenever too'])
  })
})

describe('fairness', () => {
  const crowd = () => [
    new TestEntry('a1', { fairnessId: 'a' }),
    new TestEntry('a2', { fairnessId: 'a' }),
    new TestEntry('a3', { fairnessId: 'a' }),
    new TestEntry('b1', { fairnessId: 'b' }),
    new TestEntry('c1', { fairnessId: 'c' }),
    new TestEntry('b2', { fairnessId: 'b' }),
  ]

  it('global-strict knows one order for all', () => {
    expect(order(new Band(plan(GLOBAL), 0), crowd())).toEqual(['a1', 'a2', 'a3', 'b1', 'c1', 'b2'])
  })

  it('round-robin sends one of each in turn', () => {
    const band = new Band(plan('round-robin-fairness-policy'), 0)
    expect(order(band, crowd())).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
    // One that comes back is last in the round.
    expect(order(band, crowd().slice(2, 5))).toEqual(['a3', 'b1', 'c1'])
  })

  it('program-aware: whoever got the least goes first', () => {
    const band = new Band(plan('program-aware-fairness', undefined, { lasWeightHeadWait: 0 }), 0)
    const large = { bytes: 4000 }
    const entries = [
      new TestEntry('a1', { fairnessId: 'a', ...large }),
      new TestEntry('a2', { fairnessId: 'a', ...large }),
      new TestEntry('b1', { fairnessId: 'b', bytes: 400 }),
      new TestEntry('b2', { fairnessId: 'b', bytes: 400 }),
      new TestEntry('b3', { fairnessId: 'b', bytes: 400 }),
    ]
    // a has 1,000 tokens after its first, b 300 after all three.
    expect(order(band, entries)).toEqual(['a1', 'b1', 'b2', 'b3', 'a2'])
  })

  it('program-aware: what a request has used is told when it is over, and corrects what was thought', () => {
    const band = new Band(plan('program-aware-fairness', undefined, { lasWeightHeadWait: 0 }), 0)
    const next = () =>
      order(band, [
        new TestEntry('a', { fairnessId: 'a', bytes: 400 }),
        new TestEntry('b', { fairnessId: 'b', bytes: 400 }),
      ])
    expect(next()).toEqual(['a', 'b'])
    // Both have 100; a's answer had 10 tokens, which count twice.
    band.used('a', serviceOf(100, 10, 400), 0)
    expect(next()).toEqual(['b', 'a'])
    // a: 220; b has 200, and its prompts had a few tokens more than was thought.
    band.used('b', serviceOf(130, -1, 400), 0)
    expect(next()).toEqual(['a', 'b'])
  })

  it('program-aware: what was got fades by half in a half-life, and those who wait long come forward', () => {
    const parameters = { lasHalfLifeSeconds: 10, lasWeightService: 0.5, lasWeightHeadWait: 0.5 }
    const band = new Band(plan('program-aware-fairness', undefined, parameters), 0)
    // a has got 1,000 tokens, b 600 of them ten seconds later: then a's are worth 500.
    order(band, [new TestEntry('a0', { fairnessId: 'a', bytes: 4000 })], 0)
    order(band, [new TestEntry('b0', { fairnessId: 'b', bytes: 2400 })], 10_000)
    const both = (waitA: number, waitB: number) => {
      const entries = [
        new TestEntry('b', { fairnessId: 'b', bytes: 0, arrivedAt: 10_000 - waitB }),
        new TestEntry('a', { fairnessId: 'a', bytes: 0, arrivedAt: 10_000 - waitA }),
      ]
      return order(band, entries, 10_000)
    }
    expect(both(1000, 1000)).toEqual(['a', 'b'])
    // a: ½·(1 − 5/6) + ½·½ = 0.33; b: 0 + ½·1.
    expect(both(500, 1000)).toEqual(['b', 'a'])
  })

  it('another policy takes over what waits', () => {
    const band = new Band(plan(GLOBAL), 0)
    for (const [index, entry] of crowd().entries()) {
      entry.sequence = index
      band.push(entry, 0)
    }
    band.adopt(plan('round-robin-fairness-policy'), 0)
    expect(drain(band)).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
  })
})

describe('usage limits', () => {
  const ceilings = (type: string, parameters: Record<string, unknown>, saturation: number, priorities: number[]) => {
    const out = new Float64Array(priorities.length)
    createUsageLimit({ type, parameters }).ceilings(saturation, priorities, out)
    return [...out]
  }

  it('static: one threshold for all', () => {
    expect(ceilings('static-usage-limit-policy', {}, 0.5, [1, 0])).toEqual([1, 1])
    expect(ceilings('static-usage-limit-policy', { threshold: 0.8 }, 0.5, [1, 0])).toEqual([0.8, 0.8])
  })

  it('priority-holdback: down in a line, by rank or by value', () => {
    const holdback = (parameters: Record<string, unknown>, priorities: number[]) =>
      ceilings('priority-holdback-policy', { minCeiling: 0.5, ...parameters }, 0, priorities)
    expect(holdback({}, [10, 0, -5])).toEqual([1, 0.75, 0.5])
    expect(holdback({ domain: 'value' }, [10, 7, 0])).toEqual([1, 0.85, 0.5])
    expect(holdback({ maxCeiling: 0.9 }, [0])).toEqual([0.9])
    expect(() => holdback({ maxCeiling: 0.4 }, [0])).toThrow()
    expect(() => ceilings('priority-holdback-policy', {}, 0, [0])).toThrow()
  })

  it('soft-reflective: 1 − i·saturation/(N−1), and every so often 1 for all', () => {
    const policy = createUsageLimit({ type: 'soft-reflective-ceiling-policy', parameters: {} })
    const next = (saturation: number) => {
      const out = new Float64Array(3)
      policy.ceilings(saturation, [2, 1, 0], out)
      return [...out]
    }
    // round(0.75/0.25) = 3 limited ones for one that is free.
    const seen = Array.from({ length: 8 }, () => next(0.75))
    const limited = [1, 0.625, 0.25]
    expect(seen).toEqual([limited, limited, limited, [1, 1, 1], limited, limited, limited, [1, 1, 1]])
    expect(next(0)).toEqual([1, 1, 1])
    expect(Array.from({ length: 10 }, () => next(1))).toEqual(Array.from({ length: 10 }, () => [1, 0.5, 0]))
  })
})
