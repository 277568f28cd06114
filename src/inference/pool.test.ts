import { describe, expect, it, jest } from '@jest/globals'
import { setImmediate as turn } from 'node:timers/promises'
import { adapterId } from './adapter-id.ts'
import type { ReleaseBy } from './endpoint-table.ts'
import type { PoolPlan } from './pool-plan.ts'
import { PickResult, PickStatus, type Pool } from './pool.ts'
import { PrefixIndex } from './prefix-index.ts'
import { headersOf } from './scheduling/plugins/testing.ts'
import { UnknownScorerError } from './scheduling/scorers/registry.ts'
import { addresses, endpoints, hasherOf, LocalPool, metrics, poolPlan, request, scrape } from './testing.ts'

const NOW = 1000

function pool(
  count: number,
  scheduling: Partial<PoolPlan['scheduling']> = {},
  releaseBy: ReleaseBy = 'response',
): LocalPool {
  return new LocalPool(poolPlan(addresses(count), { scheduling }), { releaseBy })
}

/** How often each slot is first in `times` picks. */
function spread(of: Pool, times: number, changes: Parameters<typeof request>[0] = {}, release = false): number[] {
  const result = new PickResult()
  const counts = Array<number>(of.table.liveCount).fill(0)
  for (let i = 0; i < times; i++) {
    expect(of.pick(request({ nowMs: NOW, ...changes }), result)).toBe(PickStatus.OK)
    counts[result.slots[0]!]!++
    if (release) of.inFlight.release(result.slots[0]!, result.generations[0]!)
  }
  return counts
}

describe('pick', () => {
  it('says when there is nothing to pick from', () => {
    expect(pool(0).pick(request(), new PickResult())).toBe(PickStatus.NO_ENDPOINTS)
  })

  it('takes the idle endpoint and says why', () => {
    const made = pool(3)
    for (const slot of [0, 1, 2]) scrape(made, slot, { waiting: slot === 1 ? 0 : 4 }, NOW)
    const result = new PickResult()
    made.pick(request(), result)
    expect(made.addresses(result)).toBe(addresses(3)[1])
    expect(result).toMatchObject({ count: 1, reason: 'queue-scorer' })
    expect(made.table.inFlight(1)).toBe(1)
  })

  it('says when there was no choice, and when all were equal', () => {
    const result = new PickResult()
    pool(1).pick(request(), result)
    expect(result.reason).toBe('only-endpoint')
    pool(4).pick(request(), result)
    expect(result.reason).toBe('random')
    pool(4, { scorers: [] }).pick(request(), result)
    expect(result.reason).toBe('random')
  })

  it('spreads equal endpoints evenly when requests are short', () => {
    const made = pool(4)
    for (const slot of [0, 1, 2, 3]) scrape(made, slot, { running: 2 }, NOW)
    for (const count of spread(made, 4000, {}, true)) expect(Math.abs(count - 1000)).toBeLessThan(150)
  })

  it('spreads a burst inside one scrape interval, although all metrics stand still', () => {
    for (const releaseBy of ['response', 'access-log', 'scrape'] as const) {
      const made = pool(5, {}, releaseBy)
      for (let slot = 0; slot < 5; slot++) scrape(made, slot, { running: 1 }, NOW)
      const counts = spread(made, 2000)
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(2)
    }
  })

  it('spreads a burst with one long prefix as well', () => {
    const made = pool(5)
    for (let slot = 0; slot < 5; slot++) scrape(made, slot, {}, NOW)
    const prefix = hasherOf('the same long prompt '.repeat(800))
    const counts = spread(made, 500, { prefix, promptBytes: 16_000 })
    expect(Math.max(...counts)).toBeLessThan(2 * Math.min(...counts))
  })

  it('sends one prefix to one endpoint while that has room, and elsewhere when it queues', () => {
    const made = pool(4)
    const prefix = hasherOf('the same long prompt '.repeat(800))
    const wish = request({ prefix, promptBytes: 16_800, nowMs: NOW })
    const result = new PickResult()
    for (let slot = 0; slot < 4; slot++) scrape(made, slot, {}, NOW)
    made.pick(wish, result)
    const home = result.slots[0]!
    for (let i = 0; i < 20; i++) {
      made.inFlight.release(home, result.generations[0]!)
      scrape(made, home, { running: 3, kvUsage: 0.3 }, NOW)
      made.pick(wish, result)
      expect(result).toMatchObject({ reason: 'prefix-cache-scorer' })
      expect(result.slots[0]).toBe(home)
    }
    scrape(made, home, { running: 8, waiting: 1, kvUsage: 0.9 }, NOW)
    for (let i = 0; i < 8; i++) {
      made.pick(wish, result)
      expect(result.slots[0]).not.toBe(home)
    }
  })

  it('orders a list of endpoints for retries', () => {
    const made = pool(4, { maxEndpoints: 3 })
    const loads = [3, 1, 2, 0]
    loads.forEach((running, slot) => scrape(made, slot, { running }, NOW))
    const result = new PickResult()
    made.pick(request(), result)
    expect([...result.slots.subarray(0, result.count)]).toEqual([3, 1, 2])
    const names = addresses(4)
    expect(made.addresses(result)).toBe([names[3], names[1], names[2]].join(','))
    expect(result.scores[0]).toBeGreaterThan(result.scores[1]!)
    // Only the first will get the request.
    expect([0, 1, 2, 3].map(slot => made.table.inFlight(slot))).toEqual([0, 0, 0, 1])
  })

  it('gives each list its own text', () => {
    const made = pool(6, { maxEndpoints: 2, scorers: [] })
    const result = new PickResult()
    for (let i = 0; i < 500; i++) {
      made.pick(request(), result)
      const [a, b] = [result.slots[0]!, result.slots[1]!]
      expect(made.addresses(result)).toBe(`${made.addressOf(a)},${made.addressOf(b)}`)
    }
  })

  it('prefers known endpoints to unknown ones, and balances when nothing is known', () => {
    const made = pool(3)
    scrape(made, 0, {}, NOW)
    scrape(made, 1, { running: 2 }, NOW)
    expect(spread(made, 300, {}, true)).toEqual([300, 0, 0])
    const counts = spread(pool(3), 300)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
  })

  it('takes a stale endpoint for as loaded as the worst', () => {
    const made = pool(3)
    scrape(made, 0, { running: 0 }, NOW)
    scrape(made, 1, { running: 5 }, NOW + 5000)
    scrape(made, 2, { running: 9 }, NOW + 5000)
    expect(spread(made, 50, { nowMs: NOW + 500 }, true)).toEqual([50, 0, 0])
    expect(spread(made, 50, { nowMs: NOW + 5000 }, true)).toEqual([0, 50, 0])
  })

  it('prefers endpoints that run the adapter; a base model does not care', () => {
    const made = pool(2, { scorers: [{ type: 'lora-affinity-scorer', weight: 1 }] })
    const models = [{ id: 'base' }, { id: 'sql', parent: 'base' }]
    for (const slot of [0, 1]) made.listed(slot, made.table.generation[slot]!, models)
    const adapters = new Int32Array(64).fill(adapterId('sql'), 0, 1)
    scrape(made, 0, { maxLora: 2 }, NOW)
    scrape(made, 1, { maxLora: 2, runningAdapters: 1, adapters }, NOW)
    expect(spread(made, 100, { model: 'sql' }, true)).toEqual([0, 100])
    expect(spread(made, 100, { model: 'base' }, true)).not.toContain(0)
  })

  it('refuses scorers that it does not know and weights that are no numbers', () => {
    const scorers = [{ type: 'nope', weight: 1 }]
    expect(() => pool(1, { scorers })).toThrow(UnknownScorerError)
    expect(() => pool(1, { scorers: [{ type: 'queue-scorer', weight: Number.NaN }] })).toThrow(RangeError)
    const made = pool(2)
    expect(() => made.update(poolPlan([], { scheduling: { scorers } }))).toThrow(UnknownScorerError)
    expect(made.table.liveCount).toBe(2)
  })
})

describe('saturation', () => {
  it('refuses when every queue is full, and avoids full ones before', () => {
    const made = pool(2, { maxQueue: 3, scorers: [] })
    scrape(made, 0, { waiting: 3 }, NOW)
    scrape(made, 1, { waiting: 2 }, NOW)
    const result = new PickResult()
    made.pick(request(), result)
    expect(result.slots[0]).toBe(1)
    // Where requests wait, an unseen one waits too.
    expect(made.pick(request(), result)).toBe(PickStatus.SATURATED)
    scrape(made, 0, { waiting: 0 }, NOW)
    expect(made.pick(request(), result)).toBe(PickStatus.OK)
    expect(result.slots[0]).toBe(0)
  })

  it('never refuses where 0 is configured, or where nothing is known', () => {
    const made = pool(1, { maxQueue: 0 })
    scrape(made, 0, { waiting: 1000 }, NOW)
    expect(made.pick(request(), new PickResult())).toBe(PickStatus.OK)
    expect(pool(1, { maxQueue: 1 }).pick(request(), new PickResult())).toBe(PickStatus.OK)
  })
})

describe('subset', () => {
  const names = ['10.0.0.1:8000', '10.0.0.1:8001', '10.0.0.2:8000', '[fd00::1]:8000']
  const made = new LocalPool(poolPlan(names, { scheduling: { maxEndpoints: 4 } }), { releaseBy: 'response' })

  function eligible(...subset: string[]): string[] {
    const result = new PickResult()
    if (made.pick(request({ subset }), result) === PickStatus.NO_ENDPOINTS) return []
    return made
      .addresses(result)
      .split(',')
      .sort((a, b) => a.localeCompare(b))
  }

  it('matches exactly with a port, and every port without one', () => {
    expect(eligible('10.0.0.1:8001')).toEqual(['10.0.0.1:8001'])
    expect(eligible('10.0.0.1')).toEqual(['10.0.0.1:8000', '10.0.0.1:8001'])
    expect(eligible(' 10.0.0.2:8000', '10.0.0.1:8000 ', '10.9.9.9')).toEqual(['10.0.0.1:8000', '10.0.0.2:8000'])
  })

  it('knows IPv6 with and without brackets', () => {
    for (const entry of ['[fd00::1]:8000', '[fd00::1]', 'fd00::1']) expect(eligible(entry)).toEqual(['[fd00::1]:8000'])
  })

  it('may leave nobody', () => {
    expect(eligible()).toEqual([])
    expect(eligible('10.0.0.1:9999', '10.0.0')).toEqual([])
  })

  it('leaves no mark behind', () => {
    eligible('10.0.0.1')
    expect(eligible('10.0.0.2')).toEqual(['10.0.0.2:8000'])
  })
})

describe('models', () => {
  function listedPool(): LocalPool {
    const made = pool(3)
    const lists = [[{ id: 'a' }, { id: 'x', parent: 'a' }], [{ id: 'a' }], [{ id: 'b' }]]
    lists.forEach((list, slot) => made.listed(slot, made.table.generation[slot]!, list))
    return made
  }

  it('are the union of what endpoints list', () => {
    const made = listedPool()
    expect(made.models()).toEqual([{ id: 'a' }, { id: 'b' }, { id: 'x', parent: 'a' }])
    expect([made.knows('x'), made.knows('y'), made.allListed]).toEqual([true, false, true])
    made.update(poolPlan(addresses(2)))
    expect([made.knows('b'), made.models().length]).toEqual([false, 2])
    made.update(poolPlan(addresses(4)))
    expect(made.allListed).toBe(false)
  })

  it('limit the endpoints to those that serve the model', () => {
    const made = listedPool()
    expect(spread(made, 60, { model: 'x' })).toEqual([60, 0, 0])
    expect(spread(made, 60, { model: 'b' })).toEqual([0, 0, 60])
    expect(spread(made, 60, { model: 'a' })[2]).toBe(0)
    // Nobody lists it: anybody may be asked.
    expect(spread(made, 60, { model: 'y' })).not.toContain(0)
  })

  it('are not all listed while there is no endpoint', () => {
    expect(pool(0).allListed).toBe(false)
  })
})

describe('endpoints', () => {
  it('that are unreachable are not picked until they are back', () => {
    const made = pool(2)
    const generation = made.table.generation[0]!
    for (const slot of [0, 1]) scrape(made, slot, {}, NOW)
    for (let i = 0; i < 2; i++) made.scrapeFailed(0, generation, 'refused')
    expect(spread(made, 100, {}, true)).not.toContain(0)
    made.scrapeFailed(0, generation, 'lost')
    expect(spread(made, 100, {}, true)).toEqual([0, 100])
    made.scrapeFailed(1, made.table.generation[1]!, 'bad')
    expect(made.snapshot().map(({ state }) => state)).toEqual(['unreachable', 'ready'])
    scrape(made, 0, {}, NOW)
    expect(spread(made, 100, {}, true)).not.toContain(0)
  })

  it('whose metrics a network hides stay usable; those that answer without metrics, too', () => {
    const made = pool(2)
    for (let i = 0; i < 10; i++) {
      made.scrapeFailed(0, made.table.generation[0]!, 'lost')
      made.scrapeFailed(1, made.table.generation[1]!, 'bad')
    }
    expect(spread(made, 100)).toEqual([50, 50])
  })

  it('that come up without metrics after refusing are used', () => {
    const made = pool(1)
    for (let i = 0; i < 3; i++) made.scrapeFailed(0, made.table.generation[0]!, 'refused')
    expect(made.pick(request(), new PickResult())).toBe(PickStatus.NO_ENDPOINTS)
    made.scrapeFailed(0, made.table.generation[0]!, 'bad')
    expect(made.pick(request(), new PickResult())).toBe(PickStatus.OK)
  })

  it('that come back have lost their prefix cache', async () => {
    const made = pool(2)
    const prefix = hasherOf('p'.repeat(2000))
    const wish = request({ prefix, promptBytes: 2000, nowMs: NOW })
    const result = new PickResult()
    for (const slot of [0, 1]) scrape(made, slot, {}, NOW)
    made.pick(wish, result)
    const home = result.slots[0]!
    made.inFlight.release(home, result.generations[0]!)
    for (let i = 0; i < 3; i++) made.scrapeFailed(home, result.generations[0]!, 'refused')
    scrape(made, home, {}, NOW)
    await turn()
    made.pick(wish, result)
    expect(result.reason).toBe('random')
  })

  it('that come back together are forgotten in one pass', async () => {
    const made = pool(2)
    const forget = jest.spyOn(PrefixIndex.prototype, 'forget')
    try {
      for (const slot of [0, 1]) {
        scrape(made, slot, {}, NOW)
        for (let i = 0; i < 3; i++) made.scrapeFailed(slot, made.table.generation[slot]!, 'refused')
      }
      for (const slot of [0, 1]) scrape(made, slot, {}, NOW)
      await turn()
      expect(forget.mock.calls.filter(([slots]) => slots.length > 0)).toEqual([[[0, 1]]])
    } finally {
      forget.mockRestore()
    }
  })

  it('that have gone are not spoken of any more', () => {
    const made = pool(2)
    const old = made.table.generation[1]!
    made.update(poolPlan(addresses(1)))
    made.update({ ...poolPlan([]), endpoints: endpoints([addresses(1)[0]!, 'new:1']) })
    made.scrapeSucceeded(1, old, metrics({ waiting: 1 }), NOW)
    made.scrapeFailed(1, old, 'refused')
    made.listed(1, old, [{ id: 'ghost' }])
    expect(made.snapshot()[1]).toMatchObject({ address: 'new:1', scrapedAt: 0, models: [] })
  })

  it('keep their prefixes when others join', () => {
    const made = pool(2)
    const prefix = hasherOf('p'.repeat(4000))
    const wish = request({ prefix, promptBytes: 4000, nowMs: NOW })
    const result = new PickResult()
    made.pick(wish, result)
    const home = result.slots[0]!
    made.inFlight.release(home, result.generations[0]!)
    made.update(poolPlan(addresses(400)))
    made.pick(wish, result)
    expect(result).toMatchObject({ reason: 'prefix-cache-scorer' })
    expect(result.slots[0]).toBe(home)
  })
})

describe('release', () => {
  it('counts only where it is meant to', () => {
    const result = new PickResult()
    for (const releaseBy of ['response', 'access-log', 'scrape'] as const) {
      const made = pool(1, {}, releaseBy)
      made.pick(request(), result)
      made.pick(request(), result)
      made.inFlight.release(result.slots[0]!, result.generations[0]!)
      expect(made.table.inFlight(0)).toBe(releaseBy === 'response' ? 1 : 2)
      made.releaseAddress(addresses(1)[0]!)
      made.releaseAddress('unknown:1')
      expect(made.table.inFlight(0)).toBe(releaseBy === 'scrape' ? 2 : 1)
    }
  })
})

it('relist tells the scraper', () => {
  const made = pool(1)
  expect(made.takeRelist()).toBe(false)
  made.relist()
  made.relist()
  expect([made.takeRelist(), made.takeRelist()]).toEqual([true, false])
})

describe('served', () => {
  it('moves the count to the endpoint that a retry led to, and what is released then is that one', () => {
    const made = pool(3, { maxEndpoints: 3 })
    const result = new PickResult()
    made.pick(request(), result)
    const [first, second] = [result.slots[0]!, result.slots[1]!]
    expect(made.inFlight.served(result, made.addressOf(first))).toBe(false)
    expect(made.inFlight.served(result, '10.9.9.9:8000')).toBe(false)
    expect(made.inFlight.served(result, made.addressOf(second))).toBe(true)
    expect([made.table.inFlight(first), made.table.inFlight(second)]).toEqual([0, 1])
    made.inFlight.release(result.slots[0]!, result.generations[0]!)
    expect(made.table.inFlight(second)).toBe(0)
  })

  it('leaves counts alone that responses do not lower', () => {
    const made = pool(2, { maxEndpoints: 2 }, 'access-log')
    const result = new PickResult()
    made.pick(request(), result)
    const [first, second] = [result.slots[0]!, result.slots[1]!]
    made.inFlight.served(result, made.addressOf(second))
    expect([made.table.inFlight(first), made.table.inFlight(second)]).toEqual([1, 0])
  })

  it("moves and releases counts of a gateway that is not ours, whatever our own fleet's are released by", () => {
    const made = pool(2, { maxEndpoints: 2 }, 'access-log')
    const result = new PickResult()
    made.pick(request(), result)
    const [first, second] = [result.slots[0]!, result.slots[1]!]
    made.inFlight.served(result, made.addressOf(second), false)
    expect([made.table.inFlight(first), made.table.inFlight(second)]).toEqual([0, 1])
    made.inFlight.releaseUnlogged(result.slots[0]!, result.generations[0]!)
    expect(made.table.inFlight(second)).toBe(0)
  })
})

describe('prefix caches beside the own one', () => {
  const parameters = { prefixMatchInfoProducerName: 'cpu' }
  const scheduling = {
    scorers: [{ type: 'prefix-cache-scorer', weight: 1, parameters }],
    prefixCaches: [{ name: 'cpu', stride: 2, blocksPerEndpoint: 1000 }],
  }
  const asks = (prompt: string) => request({ nowMs: NOW, prefix: hasherOf(prompt), promptBytes: prompt.length })

  it('lead prompts that begin alike to the endpoint that has them, in their own blocks', () => {
    const made = pool(8, scheduling)
    const result = new PickResult()
    const prompt = 'a'.repeat(1024)
    made.pick(asks(prompt), result)
    const first = result.slots[0]!
    for (let i = 0; i < 20; i++) {
      made.pick(asks(`${prompt}${i}`.padEnd(2048, '.')), result)
      expect(result).toMatchObject({ reason: 'prefix-cache-scorer' })
      expect(result.slots[0]).toBe(first)
    }
    // One block of the own index is half a block of this.
    made.pick(asks('a'.repeat(256).padEnd(1024, 'b')), result)
    expect(result.reason).toBe('random')
  })

  it('look no further into prompts than they are told', () => {
    const made = pool(8, { ...scheduling, prefixCaches: [{ ...scheduling.prefixCaches[0]!, bytes: 511 }] })
    const result = new PickResult()
    for (let i = 0; i < 3; i++) made.pick(asks('a'.repeat(1024)), result)
    expect(result.reason).toBe('random')
  })

  it('are kept when the plan changes, and forget endpoints that go', () => {
    const made = pool(3, scheduling)
    const result = new PickResult()
    const prompt = 'a'.repeat(1024)
    made.pick(asks(prompt), result)
    const first = result.slots[0]!
    made.update(poolPlan(addresses(3), { scheduling: { ...scheduling, maxQueue: 5 } }))
    made.pick(asks(prompt), result)
    expect(result).toMatchObject({ reason: 'prefix-cache-scorer' })
    expect(result.slots[0]).toBe(first)
    made.update(
      poolPlan(
        addresses(3).filter(address => address !== made.addressOf(first)),
        { scheduling },
      ),
    )
    made.update(poolPlan(addresses(3), { scheduling }))
    made.pick(asks(prompt), result)
    expect(result.reason).toBe('random')
  })
})

describe('tokens in flight', () => {
  const scheduling = {
    scorers: [{ type: 'token-load-scorer', weight: 1, parameters: { queueThresholdTokens: 10_000 } }],
    producers: [{ name: 'inflight-load-producer', type: 'inflight-load-producer', parameters: {} }],
  }
  const ask = (promptBytes: number, more = {}) => request({ nowMs: NOW, promptBytes, ...more })

  it('send short requests past long ones, and are given back', () => {
    const made = pool(2, scheduling)
    const result = new PickResult()
    made.pick(ask(4000), result)
    const long = result.slots[0]!
    expect(result.tokens).toBe(1000)
    for (let i = 0; i < 9; i++) {
      made.pick(ask(400), result)
      expect(result.slots[0]).toBe(1 - long)
      expect(made.table.counters.tokens(1 - long)).toBe((i + 1) * 100)
    }
    made.inFlight.release(long, made.table.generation[long]!, 1000)
    expect(made.table.counters.tokens(long)).toBe(0)
    made.pick(ask(400), result)
    expect(result.slots[0]).toBe(long)
  })

  it('are those that the endpoint does not hold, of a prompt as long as its body says', () => {
    const made = pool(1, scheduling)
    const result = new PickResult()
    const prompt = { prefix: hasherOf('a'.repeat(1024)), promptSize: 4000 }
    made.pick(ask(1024, prompt), result)
    expect(result.tokens).toBe(1000)
    made.pick(ask(1024, prompt), result)
    expect(result.tokens).toBe(1000 - 256)
  })

  it.each([
    [{}, 1000 + 1500],
    [{ outputRatio: 0.25 }, 1000 + 250],
    [{ maxEstimatedOutputTokens: 300 }, 1000 + 300],
    [{ outputRatio: 0 }, 1000],
  ])('with those of the answer, %j: %d', (given, tokens) => {
    const producer = { ...scheduling.producers[0]!, parameters: { addEstimatedOutputTokens: true, ...given } }
    const result = new PickResult()
    pool(1, { ...scheduling, producers: [producer] }).pick(ask(4000), result)
    expect(result.tokens).toBe(tokens)
  })
})

it('sessions of a cookie keep their endpoint', () => {
  const sessionIdConfig = { sources: [{ attribute: 'SessionIDDataKey', producer: 'sid' }] }
  const made = pool(8, {
    scorers: [{ type: 'session-affinity-scorer', weight: 1, parameters: { strategy: 'session_id', sessionIdConfig } }],
    producers: [{ name: 'sid', type: 'session-id-producer', parameters: { cookieName: 'sid' } }],
  })
  const result = new PickResult()
  const slotOf = (cookie: string) => {
    made.pick(request({ nowMs: NOW, headers: headersOf({ cookie }) }), result)
    return result.slots[0]!
  }
  const first = slotOf('a=b; sid=one; c=d')
  for (let i = 0; i < 10; i++) expect(slotOf(`c=${i};sid=one`)).toBe(first)
  expect(result.reason).toBe('session-affinity-scorer')
  slotOf('sidx=one; xsid=one')
  expect(result.reason).toBe('random')
})
