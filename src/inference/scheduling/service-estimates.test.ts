import { beforeEach, describe, expect, it } from '@jest/globals'
import { addresses, LocalPool, poolPlan, scrape } from '../testing.ts'
import { ServiceEstimates } from './service-estimates.ts'

let pool: LocalPool
let service: ServiceEstimates
let now: number

/** A scrape of slot 0, 50 ms after the last one. */
function see(waiting: number, running: number): void {
  now += 50
  scrape(pool, 0, { waiting, running }, now)
  service.observe(pool.table, 0)
}

beforeEach(() => {
  pool = new LocalPool(poolPlan(addresses(2)), { releaseBy: 'scrape' })
  service = new ServiceEstimates()
  service.reserve(pool.table.capacity)
  now = 1000
})

describe('batch', () => {
  it('is unknown before a queue has lasted', () => {
    for (let i = 0; i < 8; i++) see(3, 5)
    see(0, 6)
    see(1, 6)
    expect([service.batch, service.full(0)]).toEqual([Number.POSITIVE_INFINITY, false])
  })

  it('is what runs while a queue lasts', () => {
    for (let i = 0; i < 20; i++) see(3, 5 + Math.min(i, 3))
    expect(service.batch).toBe(8)
    expect([service.full(0), service.full(1)]).toEqual([true, false])
    see(0, 7)
    expect([service.batch, service.full(0)]).toEqual([8, false])
  })
})

it('residence is batch ÷ completions, learned over some seconds', () => {
  expect(service.residence(0)).toBe(1500)
  // Four requests run all the time, one comes and one goes every 100 ms: each stays 400 ms.
  for (let i = 0; i < 4; i++) pool.table.decide(0)
  for (let i = 0; i < 400; i++) {
    if (i % 2 === 0) pool.table.decide(0)
    see(0, 4)
  }
  expect(service.residence(0)).toBeGreaterThan(390)
  expect(service.residence(0)).toBeLessThan(500)
})
