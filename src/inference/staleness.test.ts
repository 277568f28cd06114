import { describe, expect, it } from '@jest/globals'
import { adapterId } from './adapter-id.ts'
import { MissingSignal } from './endpoint-table.ts'
import { noteLoad } from './load-report.ts'
import { PickResult, PickStatus } from './pool.ts'
import type { ReplicaMetrics } from './replica-metrics.ts'
import type { ScorerPlan } from './pool-plan.ts'
import { addresses, LocalPool, poolPlan, request, scrape } from './testing.ts'

const STALE = 1000

function poolOf(count: number, ...scorers: readonly string[]): LocalPool {
  const plans: ScorerPlan[] = scorers.map(type => ({ type, weight: 1 }))
  const plan = poolPlan(addresses(count), { scheduling: { scorers: plans }, scrape: { staleMs: STALE } })
  return new LocalPool(plan, { releaseBy: 'response' })
}

function pickAt(pool: LocalPool, nowMs: number, model = 'm'): number {
  const result = new PickResult()
  expect(pool.pick(request({ nowMs, model }), result)).toBe(PickStatus.OK)
  return result.slots[0]!
}

/** How many of `count` picks at `nowMs` go to each slot; none of them ends. */
function spread(pool: LocalPool, count: number, nowMs: number): number[] {
  const picks = pool.snapshot().map(() => 0)
  for (let i = 0; i < count; i++) picks[pickAt(pool, nowMs)]!++
  return picks
}

describe('who is heard of only with responses', () => {
  const heard = (count: number) => {
    const scheduling = { scorers: [{ type: 'running-requests-size-scorer', weight: 1, parameters: {} }] }
    const plan = poolPlan(addresses(count), { scheduling, scrape: { staleMs: STALE, off: true, orca: true } })
    return new LocalPool(plan, { releaseBy: 'response' })
  }

  it('is asked when nothing was heard for long, as far as we have nothing in flight there', () => {
    const pool = heard(3)
    noteLoad(pool.table, 0, { running: 2 }, 1000)
    noteLoad(pool.table, 1, { running: 1 }, 1000)
    // Nobody has heard of the third one.
    expect(pickAt(pool, 1100)).toBe(2)
    noteLoad(pool.table, 2, { running: 9 }, 1200)
    expect(pickAt(pool, 1300)).toBe(1)
    // What was heard of the first one has grown old.
    noteLoad(pool.table, 1, { running: 1 }, 2100)
    expect(pickAt(pool, 2100)).toBe(0)
  })

  it('fills in what reports do not say from the others, as ever', () => {
    const pool = heard(2)
    noteLoad(pool.table, 0, { running: 4 }, 1000)
    noteLoad(pool.table, 1, { waiting: 0 }, 1000)
    expect(new Set(spread(pool, 40, 1000)).has(0)).toBe(false)
  })

  it('says nothing new with an old report', () => {
    const pool = heard(1)
    noteLoad(pool.table, 0, { running: 4 }, 1000)
    noteLoad(pool.table, 0, { running: 7 }, 999)
    expect(pool.table.running[0]).toBe(4)
  })
})

describe('what is too old', () => {
  it('is never preferred to what is known', () => {
    const pool = poolOf(2, 'queue-scorer', 'kv-cache-utilization-scorer', 'running-requests-size-scorer')
    scrape(pool, 0, {}, 1000)
    scrape(pool, 1, { waiting: 1, running: 1, kvUsage: 0.5 }, 3000)
    expect(pickAt(pool, 2000)).toBe(0)
    expect(pickAt(pool, 3000)).toBe(1)
  })

  it('begins with the scrape that was due, where a replica rests', () => {
    const pool = poolOf(2, 'running-requests-size-scorer')
    scrape(pool, 0, {}, 1000)
    scrape(pool, 1, { running: 1 }, 4000)
    pool.table.slack[0] = 2500
    expect(pool.table.age(0, 4000)).toBe(500)
    expect(pickAt(pool, 4000)).toBe(0)
    expect(pickAt(pool, 4600)).toBe(1)
  })

  it('counts for adapters only where nobody else is known', () => {
    const pool = poolOf(2, 'lora-affinity-scorer')
    const lora = { maxLora: 2, runningAdapters: 1, adapters: new Int32Array(64).fill(adapterId('lora')) }
    scrape(pool, 0, lora, 1000)
    scrape(pool, 1, { maxLora: 2 }, 1000)
    expect(pickAt(pool, 1000, 'lora')).toBe(0)
    scrape(pool, 1, { maxLora: 2 }, 9000)
    expect(pickAt(pool, 9000, 'lora')).toBe(1)
    expect(pickAt(pool, 99_000, 'lora')).toBe(0)
  })
})

describe('a replica that says nothing of its queue', () => {
  const mute: Partial<ReplicaMetrics> = { missing: MissingSignal.WAITING | MissingSignal.RUNNING }

  it('is taken for as loaded as the worst other one, and for what was sent to it', () => {
    const pool = poolOf(3, 'queue-scorer')
    scrape(pool, 0, mute, 1000)
    scrape(pool, 1, { waiting: 5 }, 1000)
    scrape(pool, 2, { waiting: 3 }, 1000)
    expect(pickAt(pool, 1000)).toBe(2)
    scrape(pool, 1, {}, 1000)
    scrape(pool, 2, {}, 1000)
    // Scrapes come and go; what runs there, only we know.
    for (let i = 0; i < 9; i++) {
      pool.table.decide(0)
      scrape(pool, 0, mute, 1000)
    }
    expect(spread(pool, 6, 1000)).toEqual([0, 3, 3])
  })

  it('shares a pool of its like evenly', () => {
    const pool = poolOf(3, 'queue-scorer')
    for (let round = 0; round < 10; round++) {
      for (let slot = 0; slot < 3; slot++) scrape(pool, slot, mute, 1000)
      expect(spread(pool, 3, 1000)).toEqual([1, 1, 1])
    }
  })

  it('keeps its numbers that are there', () => {
    const pool = poolOf(2, 'kv-cache-utilization-scorer')
    scrape(pool, 0, { ...mute, kvUsage: 0.1 }, 1000)
    scrape(pool, 1, { kvUsage: 0.2 }, 1000)
    expect(pickAt(pool, 1000)).toBe(0)
  })

  it('is not taken for empty: counts stay until their requests are over', () => {
    const pool = poolOf(1, 'queue-scorer')
    pickAt(pool, 1000)
    for (let at = 1000; at < 20_000; at += 1000) scrape(pool, 0, mute, at)
    expect(pool.table.inFlight(0)).toBe(1)
  })
})

it('a cache usage that no page gives is taken for the highest of the others', () => {
  const pool = poolOf(3, 'kv-cache-utilization-scorer')
  scrape(pool, 0, { missing: MissingSignal.KV_USAGE }, 1000)
  scrape(pool, 1, { kvUsage: 0.9 }, 1000)
  scrape(pool, 2, { kvUsage: 0.8 }, 1000)
  expect(spread(pool, 10, 1000)).toEqual([0, 0, 10])
})
