import { beforeEach, describe, expect, it } from '@jest/globals'
import { LocalPool, addresses, poolPlan, scrape } from './testing.ts'

let pool: LocalPool
let now: number

const NOTHING = { firstTokens: 0, firstTokenSeconds: 0, promptTokens: 0, cachedTokens: 0, ended: 0 }
let counters: (typeof NOTHING)[]

/** A request comes to a replica, gets its first token after `ms`, and ends. */
function serve(slot: number, tokens: number, ms: number, { cached = 0, waiting = 0 } = {}): void {
  const of = counters[slot]!
  look(slot, 1, waiting)
  of.cachedTokens += cached
  look(slot, 1, waiting)
  of.firstTokens++
  of.firstTokenSeconds += ms / 1000
  of.promptTokens += tokens
  look(slot, 1, waiting)
  of.ended++
  look(slot, 0, waiting)
}

function look(slot: number, running: number, waiting = 0): void {
  now += 50
  scrape(pool, slot, { ...counters[slot]!, running, waiting }, now)
}

function rate(slot: number): number {
  const { prefillMs, prefillFactor } = pool.table.estimates
  return prefillMs[0]! * prefillFactor[slot]!
}

beforeEach(() => {
  pool = new LocalPool(poolPlan(addresses(4)), { releaseBy: 'scrape' })
  now = 1000
  counters = Array.from({ length: 8 }, () => ({ ...NOTHING }))
})

/** What a prompt takes at so many ms a token. */
const takes = (tokens: number, ms: number) => (tokens + 150) * ms

describe('what a prefill costs', () => {
  it('is 0.1 ms a token before anything is known', () => {
    for (const slot of [0, 1, 2, 3]) expect(rate(slot)).toBeCloseTo(0.1, 9)
  })

  it.each([0.01, 0.04, 0.1, 1, 5])('is learned: %d ms a token', ms => {
    for (let i = 0; i < 60; i++) serve(i % 4, 400 + 37 * i, takes(400 + 37 * i, ms))
    for (const slot of [0, 1, 2, 3]) expect(rate(slot) / ms).toBeCloseTo(1, 1)
  })

  it('counts only tokens that the cache did not have', () => {
    for (let i = 0; i < 40; i++) serve(i % 4, 8500, takes(500, 0.2), { cached: 8000 })
    expect(rate(0)).toBeCloseTo(0.2, 2)
  })

  it('is not what a prefill costs apart from its tokens', () => {
    for (let i = 0; i < 300; i++) serve(i % 4, i % 3 === 0 ? 60 : 400 + i, 200 + 0.05 * (i % 3 === 0 ? 60 : 400 + i))
    expect(rate(0)).toBeCloseTo(0.05, 2)
  })

  it('is nearly nothing where prompts make no difference', () => {
    for (let i = 0; i < 300; i++) serve(i % 4, i % 3 === 0 ? 60 : 400 + i, 100)
    expect(rate(0)).toBeLessThan(0.02)
  })

  it('is the same for a replica that gets nothing but what it has cached', () => {
    for (let i = 0; i < 300; i++) {
      if (i % 4 === 0) serve(0, 8060, 40, { cached: 8000 })
      else serve(i % 4, 900, 34 + 0.1 * 900)
    }
    expect(rate(0)).toBe(rate(1))
    expect(rate(1)).toBeCloseTo(0.1, 1)
  })

  it('differs between replicas where it really does', () => {
    const speeds = [0.1, 0.1, 0.12, 0.4]
    for (let i = 0; i < 200; i++) serve(i % 4, 1000, takes(1000, speeds[i % 4]!))
    expect(rate(0)).toBe(rate(1))
    expect(rate(2)).toBe(rate(0))
    expect(rate(3) / rate(0)).toBeGreaterThan(2.5)
  })

  it('goes on from the pool for a replica that is new, and for one in a slot that another had', () => {
    for (let i = 0; i < 100; i++) serve(i % 4, 1000, takes(1000, i % 4 === 0 ? 4 : 1))
    expect(rate(0) / rate(1)).toBeGreaterThan(2)
    pool.update(poolPlan(addresses(100).slice(1)))
    expect(pool.table.address(0)).toBe(addresses(100)[4])
    expect(rate(0)).toBe(rate(1))
    expect(rate(1)).toBeCloseTo(1, 1)
  })
})

describe('is not learned from', () => {
  it('requests that waited', () => {
    for (let i = 0; i < 50; i++) serve(i % 4, 1000, 30_000, { waiting: 1 })
    expect(rate(0)).toBeCloseTo(0.1, 9)
  })

  it('servers that count no first tokens, or no ends', () => {
    for (let i = 0; i < 50; i++) look(0, i % 3)
    for (let i = 0; i < 50; i++) {
      counters[1]!.firstTokens++
      counters[1]!.firstTokenSeconds += 5
      counters[1]!.promptTokens += 10
      look(1, 0)
    }
    expect(rate(0)).toBeCloseTo(0.1, 9)
    expect(rate(1)).toBeCloseTo(0.1, 9)
  })

  it('a restart', () => {
    for (let i = 0; i < 40; i++) serve(0, 1000, takes(1000, 0.2))
    const before = rate(0)
    counters[0] = { ...NOTHING }
    look(0, 0)
    look(0, 2)
    look(0, 0)
    expect(rate(0)).toBe(before)
    for (let i = 0; i < 60; i++) serve(0, 1000, takes(1000, 0.5))
    expect(rate(0)).toBeGreaterThan(0.4)
  })
})

describe('lies', () => {
  it('move an estimate by a step each, however large', () => {
    for (let i = 0; i < 100; i++) serve(i % 4, 1000, takes(1000, 0.1))
    const before = rate(0)
    serve(0, 1000, 1e12)
    expect(rate(0) / before).toBeLessThan(1.3)
    serve(1, 1e15, 0.001)
    expect(rate(1) / before).toBeGreaterThan(0.7)
  })

  it('of one replica for ever do not change what is thought of the others, and itself stays within bounds', () => {
    for (let i = 0; i < 600; i++) serve(i % 4, 1000, i % 4 === 0 ? 1e-3 : takes(1000, 0.1))
    for (const slot of [1, 2, 3]) expect(rate(slot)).toBeGreaterThan(0.08)
    expect(rate(0)).toBeGreaterThan(rate(1) / 17)
  })
})

it('keeps moments without prefills although requests ended without a first token', () => {
  counters[0]!.ended = 7
  for (let i = 0; i < 60; i++) serve(0, 1000, takes(1000, 0.3))
  expect(rate(0)).toBeCloseTo(0.3, 1)
  // Two more are aborted while they wait: the least is forgotten after a while.
  counters[0]!.ended += 2
  now += 30_000
  look(0, 0)
  now += 11_000
  look(0, 0)
  for (let i = 0; i < 200; i++) serve(0, 1000, takes(1000, 0.6))
  expect(rate(0)).toBeCloseTo(0.6, 1)
})
