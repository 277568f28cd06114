import { beforeEach, describe, expect, it } from '@jest/globals'
import { adapterId } from '../../adapter-id.ts'
import { PickResult } from '../../pool.ts'
import { addresses, hasherOf, LocalPool, poolPlan, request, scrape } from '../../testing.ts'

const HOT = 'a long system prompt '.repeat(800)

const LONGER = HOT.repeat(3)
/** The next one waits for two turns of a third of a second. */
const FULL = { waiting: 1, running: 8, maxLora: 2 }

let pool: LocalPool
let now: number
const result = new PickResult()

function start(count: number): void {
  const scorers = [{ type: 'expected-ttft-scorer', weight: 1 }]
  pool = new LocalPool(poolPlan(addresses(count), { scheduling: { scorers } }), { releaseBy: 'response' })
  now = 1_000_000
  for (let slot = 0; slot < count; slot++) {
    pool.listed(slot, pool.table.generation[slot]!, [{ id: 'm' }])
    scrape(pool, slot, { maxLora: 2 }, now)
  }
}

function pick(prompt: string, model = 'm'): number {
  const prefix = hasherOf(prompt, 256, 64 * 1024)
  pool.pick(request({ model, prefix, promptBytes: prompt.length, nowMs: now }), result)
  return result.slots[0]!
}

/** The request of the last pick is over. */
function over(): void {
  pool.inFlight.release(result.slots[0]!, result.generations[0]!)
}

function countOf(slots: readonly number[]): number[] {
  const counts: number[] = []
  for (const slot of slots) counts[slot] = (counts[slot] ?? 0) + 1
  return counts
}

beforeEach(() => start(4))

describe('prefixes', () => {
  it('keeps them where they are while that costs nothing', () => {
    const first = pick(HOT)
    for (let i = 0; i < 20; i++) {
      over()
      now += 1000
      expect(pick(HOT)).toBe(first)
    }
    expect(result.reason).toBe('expected-ttft/cached-prefix')
  })

  it('lets them go when the queue there costs more than their prefill, and back when it is gone', () => {
    const first = pick(HOT)
    over()
    now += 2000
    // A queue that lasts; others are picked meanwhile, or nobody looks.
    for (let i = 0; i < 20; i++) {
      now += 50
      for (let slot = 0; slot < 4; slot++) scrape(pool, slot, slot === first ? { waiting: 4, running: 4 } : {}, now)
      pick(`other ${i}`)
      over()
    }
    const second = pick(HOT)
    expect(second).not.toBe(first)
    over()
    now += 3000
    for (let slot = 0; slot < 4; slot++) scrape(pool, slot, slot === second ? { running: 10 } : {}, now)
    expect(pick(HOT)).toBe(first)
  })

  it('lets them go in a calm pool when the queue is half as long as their prefill, but not to where an adapter must be loaded', () => {
    const places = ['m', 'sql'].map(model => {
      start(4)
      const first = pick(LONGER, model)
      over()
      now += 2000
      for (let i = 0; i < 3; i++) {
        now += 300
        for (let slot = 0; slot < 4; slot++) scrape(pool, slot, slot === first ? FULL : { maxLora: 2 }, now)
      }
      return pick(LONGER, model) === first ? 'stays' : 'goes'
    })
    expect(places).toEqual(['goes', 'stays'])
  })

  it('bears a small difference of load for a long prefix, not for a short one', () => {
    const long = pick(HOT)
    over()
    now += 2000
    scrape(pool, long, { running: 3 }, now)
    expect(pick(HOT)).toBe(long)
    over()
    now += 2000
    const brief = 'short '.repeat(60)
    const short = pick(brief)
    expect(short).not.toBe(long)
    over()
    now += 2000
    for (let slot = 0; slot < 4; slot++) scrape(pool, slot, { running: slot === short ? 3 : 0 }, now)
    expect(pick(brief)).not.toBe(short)
  })
})

describe('bursts', () => {
  it('spreads identical prompts that come within one scrape interval', () => {
    expect(countOf(Array.from({ length: 64 }, () => pick(HOT)))).toEqual([16, 16, 16, 16])
  })

  it('counts what other threads decide, as requests and as prefills', () => {
    const first = pick('x'.repeat(4000))
    over()
    now += 5000
    const busy = (first + 1) % 4
    pool.keeper.table.decide(busy)
    const others = Array.from({ length: 3 }, (_, i) => pick(`${i}`.repeat(4000)))
    expect(others).not.toContain(busy)
  })

  it('takes the prefill of a long prompt for done once nothing is under way there, however long it was thought to take', () => {
    const first = pick('a prompt of a million tokens '.repeat(140_000))
    over()
    now += 10
    const slots = Array.from({ length: 80 }, (_, i) => {
      const slot = pick(`short ${i}`)
      over()
      return slot
    })
    expect(countOf(slots)[first] ?? 0).toBeGreaterThan(0)
    expect(countOf(slots)[first]).toBeLessThan(80)
  })

  it('takes it for under way while the replica says that something is, whatever we count', () => {
    const first = pick('a prompt of a million tokens '.repeat(140_000))
    // Where scrapes release, a good one ends our count of it.
    over()
    scrape(pool, first, { running: 1, maxLora: 2 }, now)
    for (let i = 0; i < 20; i++) {
      now += 10
      expect(pick(`short ${i}`)).not.toBe(first)
      over()
    }
    scrape(pool, first, { running: 0, maxLora: 2 }, now)
    const later = Array.from({ length: 80 }, (_, i) => {
      const slot = pick(`later ${i}`)
      over()
      return slot
    })
    expect(later).toContain(first)
  })

  it('sends fewer requests to where a long prompt was just sent', () => {
    const long = pick('y'.repeat(60_000))
    const short = Array.from({ length: 12 }, (_, i) => pick(`${i} `.repeat(100)))
    expect(short).not.toContain(long)
  })
})

describe('adapters', () => {
  it('stay where they were sent, although no metric shows an idle one', () => {
    const places = new Map(['sql', 'poem', 'law'].map(name => [name, pick('q', name)]))
    expect(new Set(places.values()).size).toBe(3)
    for (let round = 0; round < 3; round++) {
      for (let slot = 0; slot < 4; slot++) scrape(pool, slot, { maxLora: 2 }, (now += 1000))
      for (const [name, slot] of places) expect(pick('q', name)).toBe(slot)
      for (const slot of places.values()) pool.inFlight.release(slot, pool.table.generation[slot]!)
    }
  })

  it('go where they run, whoever sent them there', () => {
    const adapters = new Int32Array(64)
    adapters[0] = adapterId('sql')
    scrape(pool, 2, { running: 2, maxLora: 2, runningAdapters: 1, adapters }, now)
    expect(pick('q', 'sql')).toBe(2)
  })

  it('cost nothing on replicas that have no places for any: the model is one that is not listed yet', () => {
    for (let slot = 0; slot < 4; slot++) scrape(pool, slot, { maxLora: 0 }, now)
    expect(countOf(Array.from({ length: 32 }, () => pick(HOT, 'unlisted')))).toEqual([8, 8, 8, 8])
  })

  it('avoid replicas whose places are all in use', () => {
    const adapters = new Int32Array(64)
    adapters.set([adapterId('a'), adapterId('b')])
    for (const slot of [0, 1, 3]) scrape(pool, slot, { running: 2, maxLora: 2, runningAdapters: 2, adapters }, now)
    scrape(pool, 2, { running: 9, maxLora: 2 }, now)
    expect(pick('q', 'sql')).toBe(2)
  })
})

it('never prefers an endpoint of unknown load', () => {
  const scorers = [{ type: 'expected-ttft-scorer', weight: 1 }]
  pool = new LocalPool(poolPlan(addresses(2), { scheduling: { scorers } }), { releaseBy: 'response' })
  scrape(pool, 1, { running: 1 }, now)
  expect(pick('z')).toBe(1)
})
