import { describe, expect, it } from '@jest/globals'
import { createEndpointTableState } from './endpoint-table-state.ts'
import { EndpointTable } from './endpoint-table.ts'
import { Random } from './scheduling/random.ts'

const SLOTS = 200

/** Tables of these threads on the same memory; slots 0 … 199 are live. */
function tablesOf(threads: number): EndpointTable[] {
  const state = createEndpointTableState(SLOTS, threads)
  const slots = Array.from({ length: SLOTS }, (_, slot) => ({
    slot,
    generation: 0,
    address: `10.0.0.1:${slot}`,
    labels: {},
  }))
  return Array.from(
    { length: threads },
    (_, thread) => new EndpointTable({ releaseBy: 'response', thread }, state, slots),
  )
}

describe('counters of all endpoints at once', () => {
  it('are those of each endpoint', () => {
    const tables = tablesOf(3)
    const table = tables[0]!
    const random = new Random(7)
    for (let i = 0; i < 5000; i++) {
      const slot = random.below(SLOTS)
      const by = tables[random.below(3)]!
      // More releases than decisions in places: counts of threads that died, or that came twice.
      if (random.below(2) === 0) by.counters.decide(slot)
      else by.counters.release(slot, 1, 0)
      if (random.below(8) === 0) table.observed[slot] = table.counters.decided(slot) + random.below(3) - 1
    }
    const slots = Int32Array.from({ length: SLOTS }, (_, i) => (i * 37) % SLOTS)
    const [inFlight, unseen] = [new Float64Array(SLOTS), new Float64Array(SLOTS)]
    table.counters.open(slots, SLOTS, table.observed, inFlight, unseen)
    expect([...inFlight]).toEqual([...slots].map(slot => table.inFlight(slot)))
    expect([...unseen]).toEqual([...slots].map(slot => table.unseen(slot)))
    expect(Math.max(...unseen)).toBeGreaterThan(1)
    expect(Math.min(...unseen)).toBe(0)
  })

  it('run modulo 2³²', () => {
    const [table] = tablesOf(2)
    const counters = table!.counters
    const memory = new Int32Array(table!.state.counters[0]!)
    memory[5] = 0x7fffffff
    memory[64 + 5] = 0x7ffffffe
    table!.observed[5] = 0x7fffffff
    for (let i = 0; i < 3; i++) counters.decide(5)
    const [inFlight, unseen] = [new Float64Array(1), new Float64Array(1)]
    counters.open(Int32Array.of(5), 1, table!.observed, inFlight, unseen)
    expect([inFlight[0], unseen[0]]).toEqual([4, 3])
  })
})

describe('the alarm of avoided endpoints', () => {
  it('is on for as long as any is avoided, for all threads', () => {
    const [one, other] = tablesOf(2)
    expect(one!.counters.mayAvoid(1000)).toBe(false)
    one!.counters.missed(150, 1000)
    other!.counters.missed(3, 3000)
    for (const { counters } of [one!, other!]) {
      expect([1000, 5999, 7999, 8000].map(at => counters.mayAvoid(at))).toEqual([true, true, true, false])
      expect([150, 3].map(slot => counters.isAvoided(slot, 5999))).toEqual([true, true])
    }
  })

  it('stays on when an endpoint is avoided that has to wait for less', () => {
    const [table] = tablesOf(2)
    const { counters } = table!
    // Avoided longer each time.
    for (const at of [1000, 7000, 18_000]) counters.missed(1, at)
    counters.missed(2, 19_000)
    expect(counters.isAvoided(1, 37_000)).toBe(true)
    expect(counters.mayAvoid(37_000)).toBe(true)
    expect(counters.mayAvoid(38_000)).toBe(false)
  })
})
