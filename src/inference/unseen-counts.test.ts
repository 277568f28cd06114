import { describe, expect, it } from '@jest/globals'
import { ALONE, EndpointSlots } from './endpoint-slots.ts'
import { EndpointTable, type ReleaseBy } from './endpoint-table.ts'
import { endpoints, metrics } from './testing.ts'
import { FADE_STEP_MS, UnseenCounts } from './unseen-counts.ts'

/** Thread 0 keeps, threads 1 and 2 decide. */
function made(releaseBy: ReleaseBy) {
  const slots = new EndpointSlots({ releaseBy, threads: 3 })
  slots.update(endpoints(['10.0.0.1:8000', '10.0.0.2:8000']), ALONE)
  const deciding = [1, 2].map(thread => new EndpointTable({ releaseBy, thread }, slots.table.state, slots.share()))
  const unseen = new UnseenCounts(slots.table)
  let now = 100_000
  unseen.fade(now, 50)
  return {
    slots,
    unseen,
    /** `count` requests to a slot, in turn on both threads, whose end nobody will tell. */
    send: (slot: number, count: number): void => {
      for (let i = 0; i < count; i++) {
        const table = deciding[i % 2]!
        table.decide(slot)
        table.releaseOnceSeen(slot, table.generation[slot]!)
      }
    },
    /** Fades for so long; tells whether anything was given back. */
    wait: (ms: number, turnMs = 50): boolean => {
      let gaveBack = false
      for (const until = now + ms; now < until; ) gaveBack = unseen.fade((now += FADE_STEP_MS), turnMs) || gaveBack
      return gaveBack
    },
    now: () => now,
    inFlight: (slot: number) => deciding[0]!.inFlight(slot),
  }
}

describe.each(['response', 'scrape'] as const)('counts that only a scrape would end (released by %s)', releaseBy => {
  it('fade on an endpoint that was never scraped, and come to nothing', () => {
    const { send, wait, inFlight } = made(releaseBy)
    send(0, 100)
    expect(inFlight(0)).toBe(100)
    wait(5000)
    expect(inFlight(0)).toBeGreaterThan(10)
    expect(inFlight(0)).toBeLessThan(60)
    expect(wait(60_000)).toBe(true)
    expect(inFlight(0)).toBe(0)
    expect(wait(1000)).toBe(false)
    expect(inFlight(0)).toBe(0)
  })

  it('stay where scrapes tell, and for ten seconds after the last one', () => {
    const { slots, send, wait, inFlight, now } = made(releaseBy)
    slots.scrapeBegan(0)
    slots.scraped(0, metrics({ waiting: 1 }), now())
    send(0, 50)
    expect(wait(9500)).toBe(false)
    expect(inFlight(0)).toBe(50)
    wait(90_000)
    expect(inFlight(0)).toBe(0)
  })

  it('are each given back once, also when a scrape is under way that is good in the end', () => {
    const { slots, send, wait, inFlight, now } = made(releaseBy)
    send(0, 40)
    slots.scrapeBegan(0)
    wait(2000)
    const left = inFlight(0)
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThan(40)
    send(0, 10)
    slots.scraped(0, metrics({ waiting: 1 }), now())
    // What was sent after the scrape began is not among its numbers.
    expect(inFlight(0)).toBe(10)
    slots.scrapeBegan(0)
    slots.scraped(0, metrics({ waiting: 1 }), now())
    expect(inFlight(0)).toBe(0)
  })

  it('last some seconds also where there is only one', () => {
    const { send, wait, inFlight } = made(releaseBy)
    send(0, 1)
    wait(4500)
    expect(inFlight(0)).toBe(1)
    wait(1000)
    expect(inFlight(0)).toBe(0)
  })

  it('stay where scrapes are seldom, and told', () => {
    const { slots, send, wait, inFlight, now } = made(releaseBy)
    slots.scrapeBegan(0)
    slots.scraped(0, metrics({ waiting: 1 }), now())
    send(0, 5)
    expect(wait(29_000, 10_000)).toBe(false)
    wait(20_000, 10_000)
    expect(inFlight(0)).toBe(0)
  })

  it('fade at the endpoint that tells nothing only', () => {
    const { slots, send, wait, inFlight, now } = made(releaseBy)
    send(0, 20)
    slots.scrapeBegan(1)
    slots.scraped(1, metrics({ waiting: 1 }), now() + 1_000_000)
    send(1, 20)
    wait(90_000)
    expect([inFlight(0), inFlight(1)]).toEqual([0, 20])
  })
})

it('leaves requests alone whose end is told', () => {
  const { slots, wait, inFlight } = made('response')
  const table = new EndpointTable({ releaseBy: 'response', thread: 1 }, slots.table.state, slots.share())
  table.decide(0)
  expect(wait(60_000)).toBe(false)
  expect(inFlight(0)).toBe(1)
  table.release(0, table.generation[0]!)
  expect(inFlight(0)).toBe(0)
})
