import { expect, it } from '@jest/globals'
import { LocalPool, poolPlan, request } from '../../testing.ts'
import { PickResult } from '../../pool.ts'
import { headersOf } from './testing.ts'

const filters = [{ type: 'session-affinity-filter', parameters: { strategy: 'session_id' } }]
const NAMES = ['10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1']

it('session-affinity-filter pins a session to its endpoint as long as that is a candidate', () => {
  const pool = new LocalPool(poolPlan(NAMES, { scheduling: { filters } }), { releaseBy: 'response' })
  const pick = (session: string, subset?: string[]) => {
    const out = new PickResult()
    expect(pool.pick(request({ headers: headersOf({ 'x-session-id': session }), subset }), out)).toBe(0)
    return pool.addressOf(out.slots[0]!)
  }
  const home = pick('s')
  // Load would send each of these elsewhere.
  for (let i = 0; i < 5; i++) expect(pick('s')).toBe(home)
  expect(new Set([pick('t'), pick('u')])).not.toContain(home)
  const other = NAMES.find(name => name !== home)!
  expect(pick('s', [other])).toBe(other)
  expect(pick('s')).toBe(other)
  // Its endpoint goes, and comes back as another one.
  pool.update(
    poolPlan(
      NAMES.filter(name => name !== other),
      { scheduling: { filters } },
    ),
  )
  expect(pick('s')).not.toBe(other)
})

it('session-affinity-filter leaves requests without a session alone', () => {
  const pool = new LocalPool(poolPlan(NAMES, { scheduling: { filters } }), { releaseBy: 'response' })
  const used = Array.from({ length: 3 }, () => {
    const out = new PickResult()
    pool.pick(request(), out)
    return out.slots[0]
  })
  expect(new Set(used).size).toBe(3)
})
