import { expect, it } from '@jest/globals'
import type { ScorerPlan, SchedulingPlan } from '../pool-plan.ts'
import { PoolKeeper } from '../pool-keeper.ts'
import { ALONE } from '../endpoint-slots.ts'
import { addresses, LocalPool, poolPlan, request, scrape } from '../testing.ts'
import { PickResult } from '../pool.ts'

const lru = (weight: number): ScorerPlan => ({ type: 'no-hit-lru-scorer', weight, parameters: {} })
const queue = (weight: number): ScorerPlan => ({ type: 'queue-scorer', weight, parameters: {} })
const sessions = (ttl: number): ScorerPlan => ({
  type: 'session-affinity-scorer',
  weight: 1,
  parameters: { strategy: 'session_id', evictionTtlSeconds: ttl },
})
const ttft: ScorerPlan = { type: 'expected-ttft-scorer', weight: 1 }
const media: SchedulingPlan['producers'] = [{ type: 'mm-embeddings-cache-producer', name: 'media', parameters: {} }]

function memoryOf(keeper: PoolKeeper, scheduling: Partial<SchedulingPlan>, endpoints = 3) {
  keeper.update(poolPlan(addresses(endpoints), { scheduling }), ALONE)
  return keeper.share().memory ?? []
}

it('what a plug-in remembers stays, whatever becomes of weights and of other plug-ins', () => {
  const keeper = new PoolKeeper(poolPlan(addresses(3)), { releaseBy: 'response', threads: 2 }, ALONE)
  const [cold, session, seen] = memoryOf(keeper, { scorers: [lru(1), sessions(60)], producers: media })
  expect(memoryOf(keeper, { scorers: [queue(3), lru(7), sessions(60)], producers: media })).toEqual([
    cold,
    session,
    seen,
  ])
  const other = memoryOf(keeper, { scorers: [sessions(60), lru(2)], producers: media })
  expect(other.map(each => [cold, session, seen].indexOf(each))).toEqual([1, 0, 2])
  // Other parameters may mean other words.
  const [newer, still] = memoryOf(keeper, { scorers: [sessions(61), lru(2)] })
  expect([newer === session, still === cold]).toEqual([false, true])
  expect(memoryOf(keeper, {})).toEqual([])
})

it('two of a kind each have their own', () => {
  const keeper = new PoolKeeper(poolPlan(addresses(3)), { releaseBy: 'response', threads: 2 }, ALONE)
  const [first, second] = memoryOf(keeper, { scorers: [lru(1), lru(2)] })
  expect(first).not.toBe(second)
  expect(memoryOf(keeper, { scorers: [lru(5), lru(5)] }).map(each => [first, second].indexOf(each))).toEqual([0, 1])
})

it('what is remembered by slot goes into the larger memory when the table grows, the rest stays', () => {
  const keeper = new PoolKeeper(poolPlan(addresses(3)), { releaseBy: 'response', threads: 2 }, ALONE)
  const scheduling = { scorers: [lru(1), sessions(60), ttft] }
  const before = memoryOf(keeper, scheduling)
  const [cold, session, prefill] = before.map(memory => new Int32Array(memory))
  cold!.set([9, 1, 8, 1, 7])
  prefill!.fill(5, 0, 2 + 64)
  prefill!.fill(6, 2 + 64)
  const after = memoryOf(keeper, scheduling, 100)
  const [grownCold, , grownPrefill] = after.map(memory => new Int32Array(memory))
  expect([...grownCold!.subarray(0, 6)]).toEqual([9, 1, 8, 1, 7, 0])
  expect(after[1]).toBe(session!.buffer)
  const { capacity } = keeper.table
  expect(capacity).toBeGreaterThan(64)
  const runs = [...grownPrefill!].filter((word, i, all) => word !== all[i - 1])
  expect(runs).toEqual([5, 0, 6, 0])
  expect(grownPrefill!.indexOf(6)).toBe(2 + capacity)
})

it('cold requests go on in turn when a weight changes', () => {
  const pool = new LocalPool(poolPlan(addresses(3), { scheduling: { scorers: [lru(1)] } }), { releaseBy: 'response' })
  const result = new PickResult()
  const next = (): number => {
    pool.pick(request(), result)
    return result.slots[0]!
  }
  for (let slot = 0; slot < 3; slot++) scrape(pool, slot, {}, 1000)
  const used = new Set([next(), next()])
  const plan = poolPlan(addresses(3), { scheduling: { scorers: [lru(2), queue(0)] } })
  pool.update(plan)
  expect(used).not.toContain(next())
})
