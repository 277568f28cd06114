import { expect, it } from '@jest/globals'
import { ALS_FLUSH_MS } from '../../compile/envoy/access-log.ts'
import { LocalPool, poolPlan } from '../../inference/testing.ts'
import type { Threads } from '../../threads/threads.ts'
import { noteRequestEnd } from './request-ends.ts'

const ADDRESS = '10.0.0.1:80'

it('takes a load report for as old as it may be: the age of the response, and what the log may have kept it', () => {
  const pool = new LocalPool(poolPlan([ADDRESS], { scrape: { orca: true } }), { releaseBy: 'access-log' })
  const threads = { keeper: { pools: new Map([['p', pool.keeper]]) }, outcomes: { fellBack: 0 } }
  const slot = pool.table.slotOf(ADDRESS)!
  const before = Date.now()
  noteRequestEnd(threads as unknown as Threads, {
    endpoint: ADDRESS,
    upstream: ADDRESS,
    pool: 'p',
    report: 'TEXT named_metrics.num_requests_waiting=3',
    reportAgeMs: 1000,
  })
  const at = pool.table.scrapedAt[slot]!
  expect(pool.table.waiting[slot]).toBe(3)
  expect(at).toBeGreaterThanOrEqual(before - 1000 - ALS_FLUSH_MS)
  expect(at).toBeLessThanOrEqual(Date.now() - 1000 - ALS_FLUSH_MS)
})
