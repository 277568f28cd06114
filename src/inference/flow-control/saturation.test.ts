import { describe, expect, it } from '@jest/globals'
import { createEndpointTableState } from '../endpoint-table-state.ts'
import { EndpointState, EndpointTable, MissingSignal } from '../endpoint-table.ts'
import { Admission, Admitted } from './admission.ts'
import { Saturation } from './saturation.ts'

interface Load {
  readonly waiting?: number
  readonly running?: number
  readonly kvUsage?: number
  /** Sent to it since the last scrape. */
  readonly unseen?: number
  /** Tokens in flight, beside those requests. */
  readonly tokens?: number
  readonly ageMs?: number
  readonly role?: string
  readonly state?: number
  readonly missing?: number
}

const NOW = 10_000

function tableOf(loads: readonly Load[]): EndpointTable {
  const slots = loads.map(({ role }, slot) => ({
    slot,
    generation: 0,
    address: `10.0.0.${slot}:1`,
    labels: role === undefined ? {} : { 'llm-d.ai/role': role },
  }))
  const table = new EndpointTable(
    { releaseBy: 'response', thread: 0 },
    createEndpointTableState(loads.length, 1),
    slots,
  )
  for (const [slot, load] of loads.entries()) {
    table.endpointState[slot] = load.state ?? EndpointState.READY
    table.waiting[slot] = load.waiting ?? 0
    table.running[slot] = load.running ?? 0
    table.kvUsage[slot] = load.kvUsage ?? 0
    table.scrapedAt[slot] = NOW - (load.ageMs ?? 0)
    table.missing[slot] = load.missing ?? 0
    for (let i = 0; i < (load.unseen ?? 0); i++) table.decide(slot)
    table.counters.addTokens(slot, load.tokens ?? 0)
  }
  return table
}

function measure(type: string, loads: readonly Load[], parameters: Record<string, unknown> = {}): Saturation {
  const saturation = new Saturation({ type, parameters }, tableOf(loads))
  saturation.measure(NOW)
  return saturation
}

describe('utilization-detector as the saturation of a pool', () => {
  const of = (loads: readonly Load[], parameters?: Record<string, unknown>) =>
    measure('utilization-detector', loads, parameters).effective

  it.each<[string, Load[], number]>([
    ['no endpoint', [], 1],
    ['one of four with 40 waiting', [{ waiting: 40 }, {}, {}, {}], 2],
    ['one of four with 10,000 waiting', [{ waiting: 10_000 }, {}, {}, {}], 500],
    ['one of four that says its cache is eight times full', [{ kvUsage: 6.4 }, {}, {}, {}], 2],
    ['idle', [{}], 0],
    ['part of a queue', [{ waiting: 2 }], 0.4],
    ['a queue at its threshold', [{ waiting: 5 }], 1],
    ['beyond it: not clamped', [{ waiting: 10 }], 2],
    ['KV usage at its threshold', [{ kvUsage: 0.8 }], 1],
    ['the worse of the two', [{ waiting: 1, kvUsage: 0.4 }], 0.5],
    ['the mean', [{ waiting: 10 }, {}], 1],
    ['a stale one counts 1', [{ ageMs: 201 }, {}], 0.5],
    ['not stale yet', [{ ageMs: 200 }, {}], 0],
    ['one that does not tell its queue counts 1', [{ missing: MissingSignal.WAITING }, {}], 0.5],
    ['one that cannot be reached is not there', [{ waiting: 50, state: EndpointState.UNREACHABLE }, {}], 0],
  ])('%s', (_name, loads, expected) => {
    expect(of(loads)).toBeCloseTo(expected, 10)
  })

  it('what no scrape has seen yet waits where requests wait, and counts elsewhere once it is much', () => {
    expect(of([{ waiting: 2, unseen: 3 }])).toBe(1)
    expect(of([{ unseen: 5 }])).toBe(0)
    expect(of([{ unseen: 10 }])).toBe(1)
    expect(of([{ running: 8, unseen: 10 }])).toBeCloseTo(0.4, 10)
  })

  it('thresholds are settings, and stale endpoints are counted', () => {
    expect(of([{ waiting: 2 }], { queueDepthThreshold: 2 })).toBe(1)
    expect(of([{ kvUsage: 0.45 }], { kvCacheUtilThreshold: 0.9 })).toBe(0.5)
    // Not llm-d's: what one may count.
    const most = { maxEndpointSaturation: 2 }
    expect(of([{ waiting: 10_000 }, {}, {}, {}], most)).toBe(0.5)
    expect(of([{ waiting: 7 }, { waiting: 5 }], most)).toBeCloseTo(1.2, 10)
    expect(measure('utilization-detector', [{ ageMs: 900 }, { ageMs: 900 }, {}]).stale).toBe(2)
  })

  it('prefill and decode are judged apart, and the fuller stage counts', () => {
    const found = measure('utilization-detector', [
      { role: 'prefill', waiting: 4 },
      { role: 'decode', waiting: 1 },
      { waiting: 2 },
    ])
    expect([found.prefill, found.decode, found.effective]).toEqual([0.8, expect.closeTo(0.3, 10), 0.8])
    // Nobody has a part of its own: one stage.
    expect(measure('utilization-detector', [{ role: 'both', waiting: 5 }, {}])).toMatchObject({
      prefill: 0,
      decode: 0.5,
    })
    expect(measure('utilization-detector', [{ role: 'prefill' }])).toMatchObject({
      decode: 1,
      effective: 1,
      empty: false,
    })
  })

  it('knows an empty pool from a full one', () => {
    expect(measure('utilization-detector', []).empty).toBe(true)
    expect(measure('utilization-detector', [{ state: EndpointState.UNREACHABLE }]).empty).toBe(true)
    expect(measure('utilization-detector', [{ waiting: 100 }]).empty).toBe(false)
  })
})

it('concurrency-detector as the saturation of a pool: requests in flight per capacity', () => {
  const of = (loads: readonly Load[], maxConcurrency?: number) =>
    measure('concurrency-detector', loads, maxConcurrency === undefined ? {} : { maxConcurrency }).effective
  expect(of([])).toBe(1)
  expect(of([{ unseen: 3 }, { unseen: 1 }], 4)).toBe(0.5)
  expect(of([{ unseen: 6 }, {}], 2)).toBe(1.5)
  // It does not look at metrics.
  expect(of([{ ageMs: 1e6, waiting: 99, unseen: 50 }])).toBe(0.5)
})

it('concurrency-detector by tokens, and by the fuller of both at each endpoint', () => {
  const of = (concurrencyMode: string, loads: readonly Load[]) =>
    measure('concurrency-detector', loads, { concurrencyMode, maxConcurrency: 4, maxTokenConcurrency: 1000 }).effective
  const loads = [
    { unseen: 4, tokens: 100 },
    { unseen: 1, tokens: 1500 },
  ]
  expect(of('tokens', loads)).toBeCloseTo(0.8)
  expect(of('hybrid', loads)).toBeCloseTo((1 + 1.5) / 2)
  expect(of('requests', loads)).toBeCloseTo(5 / 8)
  expect(of('hybrid', [])).toBe(1)
})

describe('admission without flow control', () => {
  const admit = (loads: readonly Load[], priority: number, random = 0.5, admitters: Record<string, unknown>[] = []) => {
    const plan = {
      saturation: { type: 'utilization-detector', parameters: {} },
      admitters: admitters.map(parameters => ({ type: 'probabilistic-admitter', parameters })),
    }
    return new Admission(plan, tableOf(loads), () => random).admit(priority, NOW)
  }

  it.each<[string, number, Load[], number]>([
    ['priority 0, saturated', 0, [{ waiting: 5 }], Admitted.YES],
    ['priority −1, not saturated', -1, [{ waiting: 4 }], Admitted.YES],
    ['priority −1, saturated', -1, [{ waiting: 5 }], Admitted.SATURATED],
    ['priority −1, no endpoints', -1, [], Admitted.SATURATED],
  ])('%s', (_name, priority, loads, expected) => {
    expect(admit(loads, priority)).toBe(expected)
  })

  it('probabilistic-admitter refuses with probability min(1, k · saturation^power)', () => {
    // 300 · 0.2⁵ = 0.096
    expect(admit([{ waiting: 1 }], -1, 0.097, [{}])).toBe(Admitted.YES)
    expect(admit([{ waiting: 1 }], -1, 0.095, [{}])).toBe(Admitted.DENIED)
    expect(admit([{ waiting: 2 }], -1, 0.999, [{}])).toBe(Admitted.DENIED)
    expect(admit([{ waiting: 4 }], -1, 0.5, [{ power: 1, k: 0.5 }])).toBe(Admitted.YES)
    expect(admit([{ waiting: 4 }], 0, 0, [{}])).toBe(Admitted.YES)
  })
})
