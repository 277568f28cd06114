import { expect, it } from '@jest/globals'
import { ALONE, EndpointSlots } from './endpoint-slots.ts'
import { EndpointTable, type ReleaseBy } from './endpoint-table.ts'
import { InFlightLimit } from './in-flight-limit.ts'
import { endpoints, metrics } from './testing.ts'

/** Thread 0 keeps, threads 1 and 2 decide. */
function play(releaseBy: ReleaseBy, peers = false) {
  const slots = new EndpointSlots({ releaseBy, threads: 3, peers })
  slots.update(endpoints(['a:1', 'b:1']), ALONE)
  const [one, two] = [1, 2].map(
    thread => new EndpointTable({ releaseBy, thread }, slots.table.state, slots.share()),
  ) as [EndpointTable, EndpointTable]
  const full = (max: number) => new InFlightLimit(max, one).isReached
  return { slots, one, two, full }
}

it('a request that several endpoints take part in counts once', () => {
  const { one, two, full } = play('response')
  one.decide(0)
  one.place(1)
  two.decide(1)
  expect([full(2), full(3)]).toEqual([true, false])
  one.unplace(1, one.generation[1]!, 0)
  expect(full(2)).toBe(true)
  one.release(0, one.generation[0]!)
  one.release(0, one.generation[0]!)
  expect([full(1), full(2)]).toEqual([true, false])
})

it('a request counts until it is over, though its endpoint has left, and not for a thread that has died', () => {
  const { slots, one, two, full } = play('response')
  one.decide(0)
  two.decide(1)
  const generation = one.generation[0]!
  slots.update(endpoints(Array.from({ length: 100 }, (_, i) => `c:${i}`)), ALONE)
  one.adopt(slots.table.state, slots.share())
  expect([full(2), full(3)]).toEqual([true, false])
  one.release(0, generation)
  expect([full(1), full(2)]).toEqual([true, false])
  slots.threadDied(2)
  expect(full(1)).toBe(false)
})

it('what other replicas have in flight counts too', () => {
  const { slots, one, full } = play('response', true)
  one.decide(0)
  slots.table.requests.addPeers(3)
  expect([full(4), full(5)]).toEqual([true, false])
  // They are nobody's here: neither a thread's death nor a plan ends them.
  slots.threadDied(2)
  slots.update(endpoints(Array.from({ length: 100 }, (_, i) => `c:${i}`)), ALONE)
  one.adopt(slots.table.state, slots.share())
  expect([full(4), full(5)]).toEqual([true, false])
  slots.table.requests.addPeers(-3)
  expect([full(1), full(2)]).toEqual([true, false])
})

it('where scrapes release, what they have not seen yet counts', () => {
  const { slots, one, full } = play('scrape')
  one.decide(0)
  one.decide(1)
  expect(full(2)).toBe(true)
  slots.scrapeBegan(0)
  slots.scraped(0, metrics({}), 1000)
  expect([full(1), full(2)]).toEqual([true, false])
})
