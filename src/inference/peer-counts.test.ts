import { describe, expect, it } from '@jest/globals'
import { ALONE } from './endpoint-slots.ts'
import { PoolKeeper } from './pool-keeper.ts'
import { metrics, poolPlan, request } from './testing.ts'
import { PickResult, PickStatus, Pool } from './pool.ts'

const ADDRESSES = ['10.0.0.1:8000', '10.0.0.2:8000']
const [a, b] = ADDRESSES as [string, string]

function pool(releaseBy: 'response' | 'scrape' = 'response') {
  const keeper = new PoolKeeper(poolPlan(ADDRESSES), { releaseBy, threads: 2, peers: true }, ALONE)
  const picker = new Pool(keeper.share(), { releaseBy, thread: 1, seed: 1 })
  const inFlight = (address: string) => keeper.table.inFlight(keeper.table.slotOf(address)!)
  const own = (address: string) => keeper.table.counters.own(keeper.table.slotOf(address)!)
  return { keeper, picker, inFlight, own }
}

describe('PeerCounts', () => {
  it('adds what others have in flight, and takes it away when they say so', () => {
    const { keeper, inFlight, own } = pool()
    const { peerCounts } = keeper
    // What it sent before we heard of it, and is over, tells nothing.
    expect(peerCounts.take('x', { address: a, decided: 105, released: 100, tokens: 50 })).toBe(true)
    peerCounts.take('y', { address: a, decided: 2, released: 0, tokens: 0 })
    expect([inFlight(a), inFlight(b), own(a)]).toEqual([7, 0, 0])
    peerCounts.take('x', { address: a, decided: 110, released: 109, tokens: 10 })
    expect(inFlight(a)).toBe(3)
    expect(keeper.table.counters.tokens(keeper.table.slotOf(a)!)).toBe(10)
    peerCounts.forget('x')
    expect(inFlight(a)).toBe(2)
    expect(keeper.table.counters.tokens(keeper.table.slotOf(a)!)).toBe(0)
    peerCounts.forget('y')
    peerCounts.forget('nobody')
    expect(inFlight(a)).toBe(0)
  })

  it('counts a request once in those of the pool, as its replica tells, however many endpoints take part', () => {
    const { keeper } = pool()
    const { peerCounts, table } = keeper
    // One prefills on a and decodes on b.
    for (const address of ADDRESSES) peerCounts.take('x', { address, decided: 1, released: 0, tokens: 0 })
    // Until it says so, and where it cannot say, it counts at each.
    expect(table.requests.peers).toBe(2)
    peerCounts.takeRequests('x', 1)
    peerCounts.take('y', { address: a, decided: 3, released: 1, tokens: 0 })
    peerCounts.takeRequests('z', 4)
    expect(table.requests.peers).toBe(1 + 2 + 4)
    peerCounts.take('x', { address: a, decided: 1, released: 1, tokens: 0 })
    peerCounts.takeRequests('z', 4_000_000_000)
    expect(table.requests.peers).toBe(7)
    keeper.update(poolPlan([b]), ALONE)
    // y's were at an endpoint that has left.
    expect(table.requests.peers).toBe(5)
    peerCounts.takeRequests('z', 0)
    peerCounts.forget('x')
    peerCounts.forget('y')
    expect(table.requests.peers).toBe(0)
    expect(table.requests.count).toBe(0)
  })

  it('as many replicas as there may be cannot make the sums overflow', () => {
    const { keeper, inFlight } = pool()
    const tokens = () => keeper.table.counters.tokens(keeper.table.slotOf(a)!)
    for (let i = 0; i < 256; i++) {
      const before = tokens()
      keeper.peerCounts.take(`${i}`, { address: a, decided: 1_000_000, released: 0, tokens: 0x3fffffff })
      expect(tokens()).toBeGreaterThan(before)
    }
    expect(inFlight(a)).toBe(256_000_000)
    for (let i = 0; i < 256; i++) keeper.peerCounts.forget(`${i}`)
    expect([tokens(), inFlight(a)]).toEqual([0, 0])
  })

  it('counts on when totals pass 2³²', () => {
    const { keeper, inFlight } = pool()
    keeper.peerCounts.take('x', { address: a, decided: -1, released: -3, tokens: 0 })
    expect(inFlight(a)).toBe(2)
    keeper.peerCounts.take('x', { address: a, decided: 4, released: 3, tokens: 0 })
    expect(inFlight(a)).toBe(1)
  })

  it.each([
    ['an endpoint that is not here', { address: '10.9.9.9:1', decided: 1, released: 0, tokens: 0 }],
    ['more released than decided', { address: a, decided: 1, released: 2, tokens: 0 }],
    ['a million and one in flight', { address: a, decided: 1_000_001, released: 0, tokens: 0 }],
    ['tokens below none', { address: a, decided: 1, released: 0, tokens: -1 }],
  ])('passes %s over', (_, count) => {
    const { keeper, inFlight } = pool()
    expect(keeper.peerCounts.take('x', count)).toBe(false)
    expect(inFlight(a)).toBe(0)
  })

  it('an endpoint that goes and comes again starts anew', () => {
    const { keeper, inFlight } = pool()
    keeper.peerCounts.take('x', { address: a, decided: 5, released: 0, tokens: 0 })
    keeper.update(poolPlan([b]), ALONE)
    keeper.update(poolPlan([b, a]), ALONE)
    expect(inFlight(a)).toBe(0)
    keeper.peerCounts.take('x', { address: a, decided: 9, released: 7, tokens: 0 })
    expect(inFlight(a)).toBe(2)
    keeper.peerCounts.forget('x')
    expect(inFlight(a)).toBe(0)
  })

  it('a pick goes where the others have sent less', () => {
    const { keeper, picker } = pool()
    const result = new PickResult()
    for (const slot of [0, 1]) keeper.scrapeBegan(slot)
    for (const slot of [0, 1]) keeper.scrapeSucceeded(slot, keeper.table.currentGeneration[slot]!, metrics({}), 1)
    keeper.peerCounts.take('x', { address: a, decided: 20, released: 0, tokens: 0 })
    for (let i = 0; i < 10; i++) {
      expect(picker.pick(request({ nowMs: 2 }), result)).toBe(PickStatus.OK)
      expect(picker.addressOf(result.slots[0]!)).toBe(b)
    }
  })

  it('own counts stay right beside those of others: late releases, idle replicas, scrapes that release', () => {
    const { keeper, picker, inFlight, own } = pool()
    const result = new PickResult()
    keeper.peerCounts.take('x', { address: a, decided: 3, released: 0, tokens: 0 })
    keeper.peerCounts.take('x', { address: b, decided: 3, released: 0, tokens: 0 })
    picker.pick(request({}), result)
    const address = picker.addressOf(result.slots[0]!)
    picker.inFlight.release(result.slots[0]!, result.generations[0]!)
    // Twice is once too often, whatever others have in flight.
    picker.inFlight.release(result.slots[0]!, result.generations[0]!)
    expect([own(address), inFlight(address)]).toEqual([0, 3])

    const scraped = pool('scrape')
    const slot = scraped.keeper.table.slotOf(a)!
    scraped.keeper.peerCounts.take('x', { address: a, decided: 3, released: 0, tokens: 0 })
    scraped.keeper.scrapeBegan(slot)
    scraped.keeper.scrapeSucceeded(slot, scraped.keeper.table.currentGeneration[slot]!, metrics({ running: 3 }), 1)
    expect([scraped.own(a), scraped.inFlight(a)]).toEqual([0, 3])
    scraped.keeper.peerCounts.take('x', { address: a, decided: 3, released: 3, tokens: 0 })
    expect(scraped.inFlight(a)).toBe(0)
  })
})
