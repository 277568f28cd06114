import { beforeEach, describe, expect, it } from '@jest/globals'
import { addresses, LocalPool, poolPlan, scrape } from './testing.ts'

let pool: LocalPool
let now: number

/** A scrape of slot 0, 50 ms after the last one. */
function see(waiting: number, running: number, waitingAdapters = 0): void {
  now += 50
  scrape(pool, 0, { waiting, running, waitingAdapters }, now)
}

function estimates() {
  const { largestBatch, fullBatch, residence } = pool.table.estimates
  return { batch: largestBatch[0], full: fullBatch[0], residence: residence[0]! }
}

beforeEach(() => {
  pool = new LocalPool(poolPlan(addresses(2)), { releaseBy: 'scrape' })
  now = 1000
})

describe('batch', () => {
  it('is unknown before a queue has lasted', () => {
    for (let i = 0; i < 8; i++) see(3, 5)
    see(0, 6)
    see(1, 6)
    expect(estimates()).toMatchObject({ batch: 0, full: 0 })
  })

  it('is what runs while a queue lasts', () => {
    for (let i = 0; i < 20; i++) see(3, 5 + Math.min(i, 3))
    expect(estimates()).toMatchObject({ batch: 8, full: 8 })
    expect(pool.table.estimates.fullBatch[1]).toBe(0)
    see(0, 7)
    expect(estimates()).toMatchObject({ batch: 8, full: 8 })
  })

  it('is remembered of a replica for a minute, as others may be larger', () => {
    for (let i = 0; i < 20; i++) see(3, 4)
    expect(estimates().full).toBe(4)
    for (let i = 0; i < 2; i++) scrape(pool, 1, { running: 9 }, now + 50 * i)
    expect(estimates()).toMatchObject({ batch: 9, full: 4 })
    for (let i = 0; i < 1100; i++) see(0, 2)
    expect(estimates().full).toBe(4)
    for (let i = 0; i < 200; i++) see(0, 2)
    expect(estimates()).toMatchObject({ batch: 9, full: 0 })
  })

  it('is what runs, where a queue lasts behind less than the batch has taken', () => {
    for (let i = 0; i < 20; i++) see(3, 8)
    for (let i = 0; i < 20; i++) see(3, 5)
    expect(estimates()).toMatchObject({ batch: 8, full: 5 })
  })

  it('is not what runs while requests wait for a long prefill of an engine that is slow', () => {
    for (let served = 1; served < 60; served++) {
      now += 50
      const counted = {
        firstTokens: served,
        ended: served,
        firstTokenSeconds: 1.15 * served,
        promptTokens: 1000 * served,
      }
      scrape(pool, 1, { waiting: 0, running: 0, ...counted }, now)
    }
    expect(pool.table.estimates.prefillMs[0]).toBeCloseTo(1, 1)
    for (let i = 0; i < 90; i++) see(2, 3)
    expect(estimates()).toMatchObject({ batch: 0, full: 0 })
    for (let i = 0; i < 90; i++) see(2, 3)
    expect(estimates()).toMatchObject({ batch: 3, full: 3 })
  })

  it('is not what runs while adapters load', () => {
    for (let i = 0; i < 40; i++) see(2, 3, 2)
    expect(estimates()).toMatchObject({ batch: 0, full: 0 })
    for (let i = 0; i < 40; i++) see(3, 4, 2)
    expect(estimates()).toMatchObject({ batch: 4, full: 4 })
  })

  it('is at least what any replica has run since', () => {
    for (let i = 0; i < 20; i++) see(3, 4)
    see(0, 7)
    expect(estimates()).toMatchObject({ batch: 7, full: 7 })
  })
})

it('residence is batch ÷ completions, learned over some seconds', () => {
  expect(estimates().residence).toBe(1500)
  // Four requests run all the time, one comes and one goes every 100 ms: each stays 400 ms.
  for (let i = 0; i < 4; i++) pool.table.decide(0)
  for (let i = 0; i < 400; i++) {
    if (i % 2 === 0) pool.table.decide(0)
    see(0, 4)
  }
  expect(estimates().residence).toBeGreaterThan(390)
  expect(estimates().residence).toBeLessThan(500)
})

it('survives a table that grows, and leaves with its endpoint', () => {
  for (let i = 0; i < 20; i++) see(3, 8)
  for (let i = 0; i < 400; i++) {
    pool.table.decide(0)
    see(1, 4)
  }
  const { residence } = estimates()
  pool.update(poolPlan(addresses(300)))
  expect(estimates()).toMatchObject({ batch: 8, full: 4, residence })
  pool.update(poolPlan(addresses(300).slice(1)))
  pool.update(poolPlan([...addresses(300).slice(1), '10.9.9.9:1']))
  expect(pool.table.address(0)).toBe('10.9.9.9:1')
  expect(estimates()).toMatchObject({ full: 0, residence: 1500 })
})
