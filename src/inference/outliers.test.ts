import { describe, expect, it } from '@jest/globals'
import { PickResult, PickStatus } from './pool.ts'
import { hasherOf, LocalPool, poolPlan, request } from './testing.ts'

const NAMES = ['10.0.0.1:8000', '10.0.0.2:8000', '10.0.0.3:8000'] as const
const [A, B, C] = NAMES

function poolOf(names: readonly string[] = NAMES) {
  const pool = new LocalPool(poolPlan(names, { scheduling: { maxEndpoints: 2 } }), { releaseBy: 'response' })
  const pick = (subset: readonly string[] | undefined, nowMs: number, changes = {}) => {
    const out = new PickResult()
    const status = pool.pick(request({ subset, nowMs, ...changes }), out)
    return { status, out, list: status === PickStatus.OK ? pool.addresses(out).split(',') : [] }
  }
  return { pool, pick }
}

describe('endpoints that did not answer', () => {
  it('are avoided for a while when the data plane had to go to the next of the list', () => {
    const { pool, pick } = poolOf()
    const { out, list } = pick([A, B], 1000)
    expect(pool.inFlight.served(out, list[1]!, true, 1000)).toBe(true)
    for (let i = 0; i < 20; i++) expect(pick(undefined, 2000).list).not.toContain(list[0])
    expect(pick(undefined, 7000).list.length).toBe(2)
    const seen = new Set(Array.from({ length: 20 }, () => pick(undefined, 7000).list[0]))
    expect(seen).toContain(list[0])
  })

  it('are avoided too when our own fleet tells of it in its access log', () => {
    const { pool, pick } = poolOf()
    const { keeper } = pool
    const nowMs = 1000
    keeper.noteServed(A, B, nowMs)
    keeper.noteServed(C, 'not-ours:1', nowMs)
    const avoided = NAMES.filter(name => pool.table.counters.isAvoided(pool.table.slotOf(name)!, nowMs))
    expect(avoided).toEqual([A])
    for (let i = 0; i < 20; i++) expect(pick(undefined, 2000).list).not.toContain(A)
    keeper.noteServed(A, A, 2000)
    expect(pool.table.counters.isAvoided(pool.table.slotOf(A)!, 2000)).toBe(false)
  })

  it('are taken all the same when there is no other', () => {
    const { pool, pick } = poolOf()
    const { out, list } = pick([A, B], 1000)
    pool.inFlight.served(out, list[1]!, true, 1000)
    expect(pick([list[0]!], 1001).list).toEqual([list[0]])
  })

  it('are avoided longer each time, and no longer once they have served', () => {
    const { pool, pick } = poolOf([A, B])
    const missAt = (nowMs: number) => {
      const { out, list } = pick(undefined, nowMs)
      // The one under test came first, or is the one that must not have answered.
      out.slots[0] = pool.table.slotOf(A)!
      out.slots[1] = pool.table.slotOf(B)!
      out.count = 2
      out.generations[0] = pool.table.generation[out.slots[0]]!
      expect(list.length).toBeGreaterThan(0)
      pool.inFlight.served(out, B, true, nowMs)
    }
    const avoidedAt = (nowMs: number) => pool.table.counters.isAvoided(pool.table.slotOf(A)!, nowMs)
    missAt(1000)
    expect([avoidedAt(5000), avoidedAt(6000)]).toEqual([true, false])
    missAt(7000)
    expect([avoidedAt(16_000), avoidedAt(17_000)]).toEqual([true, false])
    // Requests of the same moment count once.
    missAt(18_000)
    missAt(18_000)
    expect([avoidedAt(37_000), avoidedAt(38_000)]).toEqual([true, false])
    for (let at = 40_000; at < 400_000; at += 41_000) missAt(at)
    expect(avoidedAt(500_000)).toBe(false)
    missAt(1_000_000)
    // Long ago: it begins anew.
    expect([avoidedAt(1_004_000), avoidedAt(1_006_000)]).toEqual([true, false])
    pool.table.counters.answered(pool.table.slotOf(A)!)
    expect(avoidedAt(1_001_000)).toBe(false)
  })

  it('are not known from the endpoint that had their address before', () => {
    const { pool, pick } = poolOf()
    const { out, list } = pick([A, B], 1000)
    pool.inFlight.served(out, list[1]!, true, 1000)
    pool.update(poolPlan(NAMES.filter(name => name !== list[0])))
    pool.update(poolPlan(NAMES))
    const slot = pool.table.slotOf(list[0]!)!
    expect(pool.table.counters.isAvoided(slot, 1001)).toBe(false)
  })

  it('are all of the list when one serves that is not on it', () => {
    const { pool, pick } = poolOf()
    const { out } = pick([A, B], 1000)
    expect(pool.inFlight.served(out, C, true, 1000)).toBe(true)
    expect(new Set(Array.from({ length: 20 }, () => pick(undefined, 1500).list[0]))).toEqual(new Set([C]))
  })
})

it('a request for a cached prompt is refused where the chosen endpoint lacks it', () => {
  const { pick } = poolOf()
  const prefix = hasherOf('word '.repeat(400))
  const asked = { prefix, promptBytes: 2000 }
  expect(pick(undefined, 1000, { ...asked, onlyCached: true }).status).toBe(PickStatus.NOT_CACHED)
  const home = pick(undefined, 1000, asked).list[0]
  expect(pick(undefined, 1000, { ...asked, onlyCached: true }).list[0]).toBe(home)
  // Prompts of another salt have their own cache.
  expect(pick(undefined, 1000, { ...asked, salt: 's', onlyCached: true }).status).toBe(PickStatus.NOT_CACHED)
  expect(pick(undefined, 1000, { onlyCached: true }).status).toBe(PickStatus.NOT_CACHED)
})
