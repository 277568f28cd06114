import { beforeEach, describe, expect, it } from '@jest/globals'
import { EnginePage } from './engine-page.ts'
import { DEFAULT_ENGINES, engineOf } from './engines.ts'
import { MetricsParser } from './metrics-parser.ts'
import { addresses, LocalPool, poolPlan, scrape } from './testing.ts'

let pool: LocalPool
let now: number
const counters = new Map<number, { tokenGaps: number; tokenGapSeconds: number }>()

beforeEach(() => {
  pool = new LocalPool(poolPlan(addresses(3)), { releaseBy: 'scrape' })
  now = 1000
  counters.clear()
})

/** The replica has run a batch of this size for a second, at so many ms per token. */
function ran(slot: number, running: number, ms: number): void {
  const { tokenGaps, tokenGapSeconds } = counters.get(slot) ?? { tokenGaps: 0, tokenGapSeconds: 0 }
  const tokens = Math.round((running * 1000) / ms)
  const page = { running, tokenGaps: tokenGaps + tokens, tokenGapSeconds: tokenGapSeconds + (tokens * ms) / 1000 }
  counters.set(slot, page)
  scrape(pool, slot, page, now)
}

/** The time per token at a batch of this size, as it is estimated. */
function predicted(slot: number, batch: number): number {
  const { decodeBaseMs, decodePerRequestMs, decodeFactor } = pool.table.estimates
  return (decodeBaseMs[0]! + decodePerRequestMs[0]! * batch) * decodeFactor[slot]!
}

const line = (batch: number) => 5 + 0.2 * batch

describe('time per output token', () => {
  it('begins with a guess, and says that nothing was learned', () => {
    expect(predicted(0, 1)).toBeCloseTo(12.1, 0)
    expect(pool.table.estimates.decodeLearned[0]).toBe(0)
  })

  it('is a line over the size of the batch', () => {
    for (let i = 0; i < 60; i++, now += 1000) {
      // Samples are of two scrapes' mean batch: batches stay for a while.
      const batch = 4 + 12 * (Math.floor(i / 10) % 3)
      ran(0, batch, line(batch))
    }
    for (const batch of [4, 16, 40]) expect(predicted(0, batch) / line(batch)).toBeCloseTo(1, 1)
    expect(pool.table.estimates.decodeLearned[0]).toBeGreaterThan(50)
    // Another replica of the pool profits.
    expect(predicted(1, 16) / line(16)).toBeCloseTo(1, 1)
  })

  it('gives each replica its own factor where it differs, and none where that is noise', () => {
    for (let i = 0; i < 120; i++, now += 1000) {
      const batch = 4 + (i % 2)
      ran(0, batch, line(batch) * (i % 2 === 0 ? 1.02 : 0.98))
      ran(1, batch, line(batch))
      ran(2, batch, line(batch) * 3)
    }
    expect(predicted(2, 4) / predicted(0, 4)).toBeGreaterThan(2)
    expect(predicted(0, 4) / predicted(1, 4)).toBeCloseTo(1, 1)
    expect(predicted(1, 4) / line(4)).toBeCloseTo(1, 0)
  })

  it('is not moved far by one replica that lies, and not at all by counters that fall or that nobody read for long', () => {
    for (let i = 0; i < 60; i++, now += 1000) ran(0, 8, line(8))
    const before = predicted(0, 8)
    ran(1, 8, 9999)
    now += 1000
    ran(1, 8, 9999)
    expect(predicted(0, 8)).toBeLessThan(before * 1.1)
    const { decodeLearned } = pool.table.estimates
    const learned = decodeLearned[0]
    scrape(pool, 1, { running: 8, tokenGaps: 1, tokenGapSeconds: 1 }, (now += 1000))
    scrape(pool, 1, { running: 8, tokenGaps: 900, tokenGapSeconds: 9000 }, (now += 60_000))
    expect(decodeLearned[0]).toBe(learned)
  })

  it('forgets what a new tenant of a slot has nothing to do with', () => {
    for (let i = 0; i < 60; i++, now += 1000) {
      ran(0, 8, line(8))
      ran(1, 8, line(8) * 5)
    }
    expect(predicted(1, 8) / predicted(0, 8)).toBeGreaterThan(3)
    pool.update(poolPlan([addresses(1)[0]!]))
    pool.update(poolPlan([addresses(1)[0]!, '10.9.9.9:1']))
    const slot = pool.table.slotOf('10.9.9.9:1')!
    expect(pool.table.estimates.decodeFactor[slot]).toBe(1)
  })
})

describe('counters of times between tokens', () => {
  it.each([
    ['vllm', 'vllm:inter_token_latency_seconds'],
    ['vllm', 'vllm:time_per_output_token_seconds'],
    ['sglang', 'sglang:inter_token_latency_seconds'],
    ['sglang', 'sglang:time_per_output_token_seconds'],
  ])('of %s stand in %s', (engine, family) => {
    const parser = new MetricsParser(new EnginePage(engineOf(DEFAULT_ENGINES, { 'llm-d.ai/engine-type': engine })))
    const page = Buffer.from(
      `${engine}:num_requests_running 1\n${family}_bucket{le="1"} 9\n${family}_count{engine="0"} 8\n` +
        `${family}_count{engine="1"} 2\n${family}_sum{engine="0"} 0.25\n`,
    )
    parser.begin()
    parser.take(page, 0, page.length)
    expect(parser.finish()).toMatchObject({ tokenGaps: 10, tokenGapSeconds: 0.25 })
  })
})
