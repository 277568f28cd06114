import { describe, expect, it } from '@jest/globals'
import { ALONE, EndpointSlots, SETTLE_AFTER_MS } from './endpoint-slots.ts'
import { EndpointState, EndpointTable, type ReleaseBy } from './endpoint-table.ts'
import { addresses, endpoints, metrics } from './testing.ts'

/** Both sides of a table: thread 0 keeps and scrapes, thread 1 decides. */
class Local {
  readonly slots: EndpointSlots
  readonly table: EndpointTable

  constructor(releaseBy: ReleaseBy, names: readonly string[], threads = 2, peers = false) {
    this.slots = new EndpointSlots({ releaseBy, threads, peers })
    this.slots.update(endpoints(names), ALONE)
    this.table = this.thread(1)
  }

  thread(thread: number): EndpointTable {
    const { table } = this.slots
    return new EndpointTable({ releaseBy: table.releaseBy, thread }, table.state, this.slots.share())
  }

  update(names: readonly string[], version = ALONE): readonly number[] {
    const { freed } = this.slots.update(endpoints(names), version)
    this.adopt()
    return freed
  }

  adopt(): void {
    this.table.adopt(this.slots.table.state, this.slots.share())
  }

  release(slot: number): void {
    this.table.release(slot, this.table.generation[slot]!)
  }

  scrape(slot: number, page: Parameters<typeof metrics>[0] = { waiting: 1 }, at = 1000): void {
    this.slots.scrapeBegan(slot)
    this.slots.scraped(slot, metrics(page), at)
  }
}

function table(releaseBy: ReleaseBy, names: readonly string[] = ['a:1', 'b:1']): Local {
  return new Local(releaseBy, names)
}

describe('endpoints', () => {
  it('keep their slots while others come and go', () => {
    const made = table('response', ['a:1', 'b:1', 'c:1'])
    const c = made.table.slotOf('c:1')!
    expect(made.update(['c:1', 'd:1', 'c:1'])).toHaveLength(2)
    expect(made.table.slotOf('c:1')).toBe(c)
    expect(made.table.liveCount).toBe(2)
    const live = Array.from(made.table.live.subarray(0, 2), slot => made.table.address(slot))
    expect(new Set(live)).toEqual(new Set(['c:1', 'd:1']))
    expect(made.table.slotOf('a:1')).toBeUndefined()
  })

  it('leave nothing behind for the next tenant of a slot', () => {
    const made = table('response', ['a:1'])
    const slot = made.table.slotOf('a:1')!
    const generation = made.table.generation[slot]!
    made.table.decide(slot)
    made.table.decide(slot)
    made.table.releaseOnceSeen(slot, generation)
    made.scrape(slot, { waiting: 9 })
    made.update([])
    expect(made.table.endpointState[slot]).toBe(EndpointState.FREE)
    made.update(['b:1'])
    expect(made.table.slotOf('b:1')).toBe(slot)
    const { waiting, scrapedAt } = made.table
    expect([waiting[slot], scrapedAt[slot], made.table.inFlight(slot), made.table.unseen(slot)]).toEqual([0, 0, 0, 0])
    made.table.decide(slot)
    made.table.release(slot, generation)
    made.table.releaseOnceSeen(slot, generation)
    made.scrape(slot)
    expect(made.table.inFlight(slot)).toBe(1)
    made.release(slot)
    expect(made.table.inFlight(slot)).toBe(0)
  })

  it('get no slot that a thread with an older plan may still count on', () => {
    const made = table('response', ['a:1'])
    const a = made.slots.table.slotOf('a:1')!
    made.slots.update(endpoints(['b:1']), { version: 2, adopted: 1 })
    // Thread 1 has not heard of it, and has no other endpoint.
    expect(made.table.address(a)).toBe('a:1')
    expect(made.table.endpointState[a]).toBe(EndpointState.READY)
    made.table.decide(a)
    const b = made.slots.table.slotOf('b:1')!
    expect(b).not.toBe(a)
    made.slots.update(endpoints(['b:1', 'c:1']), { version: 3, adopted: 1 })
    expect(made.slots.table.slotOf('c:1')).not.toBe(a)
    // Now every thread has adopted version 3.
    made.adopt()
    made.update(['b:1', 'c:1', 'd:1'], { version: 4, adopted: 3 })
    expect(made.table.slotOf('d:1')).toBe(a)
    expect(made.table.inFlight(a)).toBe(0)
  })

  it('keep everything when the table grows', () => {
    const made = table('response', addresses(20))
    for (let slot = 0; slot < 20; slot++) {
      made.table.decide(slot)
      made.slots.scrapeBegan(slot)
      const adapters = new Int32Array(64).fill(slot + 1)
      const page = { waiting: slot, kvUsage: slot / 20, runningAdapters: 64, adapters }
      made.slots.scraped(slot, metrics(page), 1000 + slot)
      made.table.decide(slot)
    }
    made.slots.update(endpoints(addresses(500)), ALONE)
    // A thread that has not adopted the larger table counts as before.
    for (let slot = 0; slot < 20; slot++) made.table.decide(slot)
    made.adopt()
    const { table: grown } = made
    expect(grown.capacity).toBeGreaterThanOrEqual(500)
    expect(grown.liveCount).toBe(500)
    for (let slot = 0; slot < 20; slot++) {
      expect(grown.address(slot)).toBe(addresses(20)[slot])
      expect([grown.waiting[slot], grown.kvUsage[slot], grown.scrapedAt[slot]]).toEqual([slot, slot / 20, 1000 + slot])
      expect([grown.inFlight(slot), grown.unseen(slot)]).toEqual([3, 2])
      expect([...grown.adapters.subarray(slot * 64, slot * 64 + 64)]).toEqual(Array<number>(64).fill(slot + 1))
    }
    expect([grown.inFlight(400), grown.scrapedAt[400]]).toEqual([0, 0])
    expect(made.slots.table.inFlight(3)).toBe(3)
  })
})

describe('in-flight counts', () => {
  it('rise at decisions and fall by responses', () => {
    const made = table('response')
    made.table.decide(0)
    made.table.decide(0)
    expect(made.table.inFlight(0)).toBe(2)
    made.release(0)
    expect(made.table.inFlight(0)).toBe(1)
    expect(made.table.inFlight(1)).toBe(0)
  })

  it('are unseen until a good scrape has begun after them', () => {
    const made = table('response')
    made.table.decide(0)
    made.slots.scrapeBegan(0)
    made.table.decide(0)
    expect(made.table.unseen(0)).toBe(2)
    made.slots.scraped(0, metrics({ running: 1 }), 1000)
    expect(made.table.unseen(0)).toBe(1)
    // A scrape that fails shows nothing.
    made.slots.scrapeBegan(0)
    expect(made.table.unseen(0)).toBe(1)
    made.scrape(0)
    expect(made.table.unseen(0)).toBe(0)
    expect(made.table.inFlight(0)).toBe(2)
  })

  it('are not unseen any more when they are over', () => {
    const made = table('response')
    for (let i = 0; i < 5; i++) made.table.decide(0)
    for (let i = 0; i < 4; i++) made.release(0)
    expect(made.table.unseen(0)).toBe(1)
  })

  it('fall by scrapes where nothing else tells', () => {
    const made = table('scrape')
    made.table.decide(0)
    made.slots.scrapeBegan(0)
    made.table.decide(0)
    made.release(0)
    expect(made.table.inFlight(0)).toBe(2)
    made.slots.scraped(0, metrics({ running: 2 }), 1000)
    expect(made.table.inFlight(0)).toBe(1)
    made.scrape(0)
    expect(made.table.inFlight(0)).toBe(0)
  })

  it('fall by the first scrape that can have seen a request whose end nobody tells', () => {
    const made = table('response')
    for (let i = 0; i < 3; i++) made.table.decide(0)
    made.table.releaseOnceSeen(0, made.table.generation[0]!)
    made.slots.scrapeBegan(0)
    made.table.releaseOnceSeen(0, made.table.generation[0]!)
    made.slots.scraped(0, metrics({ running: 3 }), 1000)
    expect(made.table.inFlight(0)).toBe(2)
    made.scrape(0, { running: 3 })
    made.scrape(0, { running: 3 })
    expect(made.table.inFlight(0)).toBe(1)
  })

  it('settle lost entries of the access log when the replica stays idle for long, and only then', () => {
    const made = table('access-log')
    const scrapeAt = (now: number, running: number) => made.scrape(0, { running }, now)
    made.table.decide(0, 70)
    scrapeAt(1000, 0)
    // The request may have been under way to the replica.
    scrapeAt(1050, 3)
    scrapeAt(4000, 0)
    scrapeAt(4000 + SETTLE_AFTER_MS - 1, 0)
    // Its prompt may be computed elsewhere for now.
    expect(made.table.inFlight(0)).toBe(1)
    const settled = 4000 + SETTLE_AFTER_MS
    scrapeAt(settled, 0)
    expect([made.table.inFlight(0), made.table.counters.tokens(0)]).toEqual([0, 0])
    // The entry comes all the same: it must not take away the next request.
    made.table.decide(0)
    made.table.decide(0)
    expect(made.slots.releaseLogged(0, 900)).toBe(false)
    expect([made.table.inFlight(0), made.table.unseen(0)]).toEqual([2, 2])
    expect(made.slots.releaseLogged(0, settled + 1)).toBe(true)
    expect(made.table.inFlight(0)).toBe(1)
  })

  it.each(['response', 'access-log'] as const)(
    'of a replica that idles while a prompt is computed elsewhere stay, and fall with their own request (%s)',
    releaseBy => {
      const made = table(releaseBy)
      made.table.decide(0)
      for (let now = 1000; now < SETTLE_AFTER_MS; now += 200) made.scrape(0, { running: 0 }, now)
      expect(made.table.inFlight(0)).toBe(1)
      made.table.decide(0)
      made.release(0)
      expect(made.table.inFlight(0)).toBe(1)
    },
  )

  it('by responses are never settled by what a scrape says', () => {
    const made = table('response')
    made.table.decide(0)
    for (let now = 1000; now < 3 * SETTLE_AFTER_MS; now += SETTLE_AFTER_MS / 2) made.scrape(0, { running: 0 }, now)
    expect(made.table.inFlight(0)).toBe(1)
  })

  it('never fall below zero', () => {
    const made = table('response')
    made.table.decide(0)
    made.release(0)
    made.release(0)
    made.table.decide(0)
    expect([made.table.inFlight(0), made.table.unseen(0)]).toEqual([1, 1])
  })

  it('return to zero after 100,000 requests', () => {
    const made = table('response')
    for (let i = 0; i < 100_000; i++) {
      made.table.decide(i & 1)
      if (i % 100 === 0) made.scrape(i & 1)
      if (i >= 50) made.release(i & 1)
    }
    for (let i = 0; i < 50; i++) made.release(i & 1)
    expect([made.table.inFlight(0), made.table.inFlight(1)]).toEqual([0, 0])
  })
})

describe('the counts of a thread that has died', () => {
  it('are over where responses would have told, in whatever way some of them have ended', () => {
    const made = new Local('response', ['a:1'], 3)
    const [first, second] = [made.table, made.thread(2)]
    for (let i = 0; i < 7; i++) first.decide(0)
    for (let i = 0; i < 3; i++) second.decide(0)
    made.release(0)
    // One end is settled by a scrape, another one waits for the next.
    first.releaseOnceSeen(0, first.generation[0]!)
    made.scrape(0)
    first.releaseOnceSeen(0, first.generation[0]!)
    expect(first.inFlight(0)).toBe(8)
    made.slots.threadDied(1)
    expect(second.inFlight(0)).toBe(3)
    made.scrape(0)
    expect([second.inFlight(0), second.unseen(0)]).toEqual([3, 0])
    // A successor counts in its place.
    const successor = made.thread(1)
    successor.decide(0)
    expect(second.inFlight(0)).toBe(4)
    made.slots.threadDied(1)
    made.slots.threadDied(1)
    expect(second.inFlight(0)).toBe(3)
  })

  it('that were given back before are not given back twice', () => {
    const made = new Local('response', ['a:1'], 3)
    made.table.decide(0)
    made.slots.table.release(0, made.table.generation[0]!)
    expect(made.table.inFlight(0)).toBe(0)
    made.slots.threadDied(1)
    made.thread(2).decide(0)
    expect(made.table.inFlight(0)).toBe(1)
  })

  it('stay where the access log or scrapes tell', () => {
    for (const releaseBy of ['access-log', 'scrape'] as const) {
      const made = table(releaseBy)
      made.table.decide(0)
      made.slots.threadDied(1)
      expect(made.table.inFlight(0)).toBe(1)
    }
  })
})

it('a thread needs a column', () => {
  const made = table('response')
  expect(() => made.thread(2)).toThrow(RangeError)
})

describe('tokens in flight', () => {
  it('are those of all threads, and go with the request that had them', () => {
    const made = table('response')
    const other = made.thread(0)
    const slot = made.table.slotOf('a:1')!
    made.table.decide(slot, 1000)
    other.decide(slot, 24)
    expect(made.table.counters.tokens(slot)).toBe(1024)
    made.table.release(slot, made.table.generation[slot]!, 1000)
    expect(other.counters.tokens(slot)).toBe(24)
    expect(other.inFlight(slot)).toBe(1)
  })

  it('that nobody knows when a request ends are the mean of all, and none is left of the last', () => {
    const made = table('access-log')
    const slot = made.table.slotOf('a:1')!
    for (const tokens of [100, 200, 301]) made.table.decide(slot, tokens)
    const left = [1, 2, 3].map(() => {
      made.release(slot)
      return made.table.counters.tokens(slot)
    })
    expect(left).toEqual([401, 201, 0].map(tokens => expect.closeTo(tokens, -1)))
    expect(left[2]).toBe(0)
  })

  it('that nobody knows are the mean of our own, whatever other replicas have in flight', () => {
    const made = new Local('access-log', ['a:1'], 2, true)
    const slot = made.table.slotOf('a:1')!
    const { counters } = made.slots.table
    counters.addPeers(slot, 1, 0, 100_000)
    for (const tokens of [10, 30]) made.table.decide(slot, tokens)
    made.release(slot)
    expect([counters.ownTokens(slot), counters.tokens(slot)]).toEqual([20, 100_020])
    made.release(slot)
    expect([counters.ownTokens(slot), counters.tokens(slot)]).toEqual([0, 100_000])
  })

  it('that a mean has left behind are gone once nothing is in flight', () => {
    const made = table('response')
    const slot = made.table.slotOf('a:1')!
    made.table.decide(slot, 1000)
    made.table.decide(slot, 10)
    made.table.releaseOnceSeen(slot, made.table.generation[slot]!)
    made.scrape(slot, { running: 1 })
    made.table.release(slot, made.table.generation[slot]!, 10)
    expect(made.table.counters.tokens(slot)).toBeGreaterThan(0)
    made.scrape(slot, {})
    expect(made.table.counters.tokens(slot)).toBe(0)
  })

  it('of a thread that has died are over', () => {
    const made = table('response')
    const slot = made.table.slotOf('a:1')!
    made.table.decide(slot, 500)
    made.slots.table.decide(slot, 7)
    made.slots.threadDied(1)
    expect(made.slots.table.counters.tokens(slot)).toBe(7)
  })

  it('leave nothing behind for the next tenant of a slot', () => {
    const made = table('response', ['a:1'])
    const slot = made.table.slotOf('a:1')!
    made.table.decide(slot, 500)
    made.update(['b:1'])
    expect(made.table.counters.tokens(made.table.slotOf('b:1')!)).toBe(0)
  })
})
