import { Worker } from 'node:worker_threads'
import { describe, expect, it } from '@jest/globals'
import { EndpointState, EndpointTable, type ReleaseBy } from './endpoint-table.ts'
import { addresses, endpoints, metrics } from './testing.ts'

function table(releaseBy: ReleaseBy, names: readonly string[] = ['a:1', 'b:1']): EndpointTable {
  const made = new EndpointTable({ releaseBy })
  made.update(endpoints(names))
  return made
}

function scrape(of: EndpointTable, slot: number, waiting = 1): void {
  of.scrapeBegan(slot)
  of.scraped(slot, metrics({ waiting }), 1000)
}

describe('endpoints', () => {
  it('keep their slots while others come and go', () => {
    const made = table('response', ['a:1', 'b:1', 'c:1'])
    const c = made.slotOf('c:1')!
    expect(made.update(endpoints(['c:1', 'd:1', 'c:1']))).toHaveLength(2)
    expect(made.slotOf('c:1')).toBe(c)
    expect(made.liveCount).toBe(2)
    expect(new Set(Array.from(made.live.subarray(0, 2), slot => made.address(slot)))).toEqual(new Set(['c:1', 'd:1']))
    expect(made.slotOf('a:1')).toBeUndefined()
  })

  it('leave nothing behind for the next tenant of a slot', () => {
    const made = table('response', ['a:1'])
    const slot = made.slotOf('a:1')!
    const generation = made.generation[slot]!
    made.decide(slot)
    scrape(made, slot, 9)
    made.update([])
    expect(made.endpointState[slot]).toBe(EndpointState.FREE)
    made.update(endpoints(['b:1']))
    expect(made.slotOf('b:1')).toBe(slot)
    expect([made.waiting[slot], made.scrapedAt[slot], made.inFlight(slot), made.unseen(slot)]).toEqual([0, 0, 0, 0])
    made.decide(slot)
    made.release(slot, generation)
    expect(made.inFlight(slot)).toBe(1)
    made.release(slot, made.generation[slot]!)
    expect(made.inFlight(slot)).toBe(0)
  })

  it('keep everything when the table grows', () => {
    const made = table('response', addresses(20))
    for (let slot = 0; slot < 20; slot++) {
      made.decide(slot)
      made.scrapeBegan(slot)
      const adapters = new Int32Array(64).fill(slot + 1)
      made.scraped(slot, metrics({ waiting: slot, kvUsage: slot / 20, runningAdapters: 64, adapters }), 1000 + slot)
      made.decide(slot)
    }
    made.update(endpoints(addresses(500)))
    expect(made.capacity).toBeGreaterThanOrEqual(500)
    expect(made.liveCount).toBe(500)
    for (let slot = 0; slot < 20; slot++) {
      expect(made.address(slot)).toBe(addresses(20)[slot])
      expect([made.waiting[slot], made.kvUsage[slot], made.scrapedAt[slot]]).toEqual([slot, slot / 20, 1000 + slot])
      expect([made.inFlight(slot), made.unseen(slot)]).toEqual([2, 1])
      expect([...made.adapters.subarray(slot * 64, slot * 64 + 64)]).toEqual(Array<number>(64).fill(slot + 1))
    }
    expect([made.inFlight(400), made.scrapedAt[400]]).toEqual([0, 0])
  })
})

describe('in-flight counts', () => {
  it('rise at decisions and fall by responses', () => {
    const made = table('response')
    made.decide(0)
    made.decide(0)
    expect(made.inFlight(0)).toBe(2)
    made.release(0, made.generation[0]!)
    expect(made.inFlight(0)).toBe(1)
    expect(made.inFlight(1)).toBe(0)
  })

  it('are unseen until a good scrape has begun after them', () => {
    const made = table('response')
    made.decide(0)
    made.scrapeBegan(0)
    made.decide(0)
    expect(made.unseen(0)).toBe(2)
    made.scraped(0, metrics({ running: 1 }), 1000)
    expect(made.unseen(0)).toBe(1)
    // A scrape that fails shows nothing.
    made.scrapeBegan(0)
    expect(made.unseen(0)).toBe(1)
    scrape(made, 0)
    expect(made.unseen(0)).toBe(0)
    expect(made.inFlight(0)).toBe(2)
  })

  it('are not unseen any more when they are over', () => {
    const made = table('response')
    for (let i = 0; i < 5; i++) made.decide(0)
    for (let i = 0; i < 4; i++) made.release(0, made.generation[0]!)
    expect(made.unseen(0)).toBe(1)
  })

  it('fall by scrapes where nothing else tells', () => {
    const made = table('scrape')
    made.decide(0)
    made.scrapeBegan(0)
    made.decide(0)
    made.release(0, made.generation[0]!)
    expect(made.inFlight(0)).toBe(2)
    made.scraped(0, metrics({ running: 2 }), 1000)
    expect(made.inFlight(0)).toBe(1)
    scrape(made, 0)
    expect(made.inFlight(0)).toBe(0)
  })

  it('settle lost releases when the replica stays idle, and only then', () => {
    const made = table('access-log')
    const scrapeAt = (now: number, running: number) => {
      made.scrapeBegan(0)
      made.scraped(0, metrics({ running }), now)
    }
    made.decide(0)
    scrapeAt(1000, 0)
    // The request may have been under way to the replica.
    scrapeAt(1050, 3)
    scrapeAt(4000, 0)
    scrapeAt(5900, 0)
    // Its entry in the access log may be on the way.
    expect(made.inFlight(0)).toBe(1)
    scrapeAt(6000, 0)
    expect(made.inFlight(0)).toBe(0)
    // The entry comes all the same: the next request must not be hidden by it.
    made.release(0, made.generation[0]!)
    made.decide(0)
    expect([made.inFlight(0), made.unseen(0)]).toEqual([1, 1])
  })

  it('never fall below zero', () => {
    const made = table('response')
    made.decide(0)
    made.release(0, made.generation[0]!)
    made.release(0, made.generation[0]!)
    made.decide(0)
    expect([made.inFlight(0), made.unseen(0)]).toEqual([1, 1])
  })

  it('return to zero after 100,000 requests', () => {
    const made = table('response')
    for (let i = 0; i < 100_000; i++) {
      made.decide(i & 1)
      if (i % 100 === 0) scrape(made, i & 1)
      if (i >= 50) made.release(i & 1, made.generation[i & 1]!)
    }
    for (let i = 0; i < 50; i++) made.release(i & 1, made.generation[i & 1]!)
    expect([made.inFlight(0), made.inFlight(1)]).toEqual([0, 0])
  })
})

describe('threads', () => {
  it('count in columns of their own, and a dead one is forgotten', () => {
    const main = new EndpointTable({ releaseBy: 'response', threads: 3, thread: 0 })
    main.update(endpoints(['a:1']))
    const others = [1, 2].map(thread => new EndpointTable({ releaseBy: 'response', thread }, main.state))
    main.decide(0)
    others[0]!.decide(0)
    others[1]!.decide(0)
    others[1]!.decide(0)
    expect(main.inFlight(0)).toBe(4)
    main.clearThread(2)
    expect(main.inFlight(0)).toBe(2)
    scrape(main, 0)
    expect([main.unseen(0), others[0]!.unseen(0)]).toEqual([0, 0])
    expect(() => new EndpointTable({ releaseBy: 'response', thread: 3 }, main.state)).toThrow(RangeError)
  })

  it('lose no count when two of them count at once', async () => {
    const main = new EndpointTable({ releaseBy: 'response', threads: 2, thread: 0 })
    main.update(endpoints(['a:1']))
    const source = `
      const { workerData } = require('node:worker_threads')
      import(workerData.module).then(({ EndpointTable }) => {
        const table = new EndpointTable({ releaseBy: 'response', thread: 1 }, workerData.state)
        for (let i = 0; i < 20000; i++) table.decide(0)
      })`
    const module = new URL('./endpoint-table.ts', import.meta.url).href
    const worker = new Worker(source, { eval: true, workerData: { module, state: main.state } })
    const ended = new Promise<number>((resolve, reject) => worker.on('exit', resolve).on('error', reject))
    for (let i = 0; i < 20_000; i++) main.decide(0)
    expect(await ended).toBe(0)
    expect(main.inFlight(0)).toBe(40_000)
  })
})
