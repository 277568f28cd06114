import { describe, expect, it } from '@jest/globals'
import { PrefixIndex, prefixSeed } from './prefix-index.ts'
import { roomIn } from './prefix-index-state.ts'
import { hasherOf } from './testing.ts'

const M = prefixSeed('m')

function chain(...names: string[]) {
  return hasherOf(names.map(name => name.padEnd(64, '.')).join(''), 64, 64 * 1024)
}

/** Distinct blocks, `name0 …`. */
function long(name: string, count: number) {
  return chain(...Array.from({ length: count }, (_, i) => `${name} ${i}`))
}

function matches(index: PrefixIndex, hasher = chain('a', 'b', 'c'), seed = M): number[] {
  const matched = new Int32Array(index.state.slots)
  index.match(hasher, seed, matched)
  return [...matched]
}

function small(slots = 32, endpoints = 4, blocksPerEndpoint = 1000): PrefixIndex {
  return new PrefixIndex({ slots, endpoints, blocksPerEndpoint })
}

describe('PrefixIndex', () => {
  it('knows how many leading blocks each endpoint has', () => {
    const index = small()
    index.record(chain('a', 'b', 'c'), M, 0)
    index.record(chain('a', 'b', 'x'), M, 1)
    index.record(chain('z'), M, 2)
    expect(matches(index).slice(0, 4)).toEqual([3, 2, 0, 0])
    expect(index.match(chain('a', 'b', 'c', 'd'), M, new Int32Array(32))).toBe(3)
    expect(index.match(chain('q'), M, new Int32Array(32))).toBe(0)
  })

  it('counts no block whose predecessors are not held', () => {
    const index = small()
    const whole = chain('a', 'b', 'c')
    index.record(whole, M, 0)
    index.record(chain('a'), M, 1)
    expect(matches(index)[1]).toBe(1)
  })

  it('keeps models apart', () => {
    const index = small()
    index.record(chain('a', 'b'), M, 0)
    expect(matches(index, chain('a', 'b'), prefixSeed('other'))[0]).toBe(0)
  })

  it('serves hundreds of endpoints', () => {
    const index = small(300, 300, 100)
    for (let slot = 0; slot < 300; slot++)
      index.record(chain('a', 'b', 'c', 'd').count > 0 ? long('p', 1 + (slot % 9)) : chain('a'), M, slot)
    const matched = matches(index, long('p', 9))
    for (let slot = 0; slot < 300; slot++) expect(matched[slot]).toBe(1 + (slot % 9))
  })

  it('forgets the blocks recorded longest ago, and not those in use', () => {
    const index = small(32, 4, 1000)
    const used = long('used', 50)
    const unused = long('unused', 50)
    index.record(unused, M, 0)
    index.record(unused, M, 1)
    for (let i = 0; i < 100; i++) {
      index.record(used, M, 0)
      index.record(long(`new ${i}`, 30), M, 0)
    }
    expect(matches(index, used)[0]).toBe(50)
    expect(matches(index, unused)[0]).toBe(0)
    // The other endpoint got nothing new: it still has them.
    expect(matches(index, unused)[1]).toBe(50)
  })

  it('an engine that holds more than the table has room for makes nobody forget what is in use', () => {
    const hits = (holds: number) => {
      const index = small(32, 4, 1000)
      for (let slot = 0; slot < 4; slot++) index.holds(slot, holds)
      const used = Array.from({ length: 24 }, (_, i) => long(`used ${i}`, 20))
      let matched = 0
      // A slot's conversations come again with every third of what is asked only once.
      for (let i = 0; i < 1200; i++) {
        const slot = i % 4
        index.record(long(`once ${i}`, 20), M, slot)
        if (i % 12 >= 4) continue
        const conversation = used[(slot + 4 * (Math.trunc(i / 12) % 6)) % 24]!
        if (i > 600) matched += matches(index, conversation)[slot]!
        index.record(conversation, M, slot)
      }
      return matched
    }
    const configured = hits(0)
    expect(configured).toBeGreaterThan(0)
    expect(hits(1_000_000)).toBe(configured)
    expect(hits(500)).toBeLessThanOrEqual(configured)
  })

  it('each of more endpoints has less of a table that cannot grow', () => {
    const size = { slots: 32, blocksPerEndpoint: 1000 }
    expect([1, 2, 10, 100].map(endpoints => roomIn(500, { ...size, endpoints }))).toEqual([1000, 1000, 320, 32])
  })

  it('remembers about as many blocks per endpoint as it was told', () => {
    const index = small(32, 4, 1000)
    const chains = Array.from({ length: 400 }, (_, i) => long(`c ${i}`, 20))
    for (let i = 0; i < chains.length; i++) index.record(chains[i]!, M, i % 2)
    for (const slot of [0, 1]) {
      let held = 0
      for (const each of chains) held += matches(index, each)[slot]!
      expect(held).toBeGreaterThan(400)
      expect(held).toBeLessThan(1800)
    }
  })

  it('remembers of an endpoint as many blocks as it can hold, and as there is room for', () => {
    // Memory for 1000 each; one holds less, one more, one is not known.
    const index = small(32, 4, 1000)
    const holds = [100, 2400, 0]
    holds.forEach((blocks, slot) => index.holds(slot, blocks))
    const chains = Array.from({ length: 600 }, (_, i) => long(`c ${i}`, 20))
    for (let i = 0; i < chains.length; i++) index.record(chains[i]!, M, i % 3)
    const held = (slot: number) => chains.reduce((sum, each) => sum + matches(index, each)[slot]!, 0)
    expect(held(0)).toBeGreaterThan(40)
    expect(held(0)).toBeLessThan(300)
    for (const slot of [1, 2]) {
      expect(held(slot)).toBeGreaterThan(400)
      expect(held(slot)).toBeLessThan(1800)
    }
  })

  it('keeps what endpoints can hold when it grows, and not when they go', () => {
    const index = small(32, 2, 1000)
    index.holds(3, 40)
    index.reserve({ slots: 64, endpoints: 40, blocksPerEndpoint: 1000 })
    const fill = (name: string) => {
      for (let i = 0; i < 10; i++) index.record(long(`${name} ${i}`, 50), M, 3)
      return matches(index, long(`${name} 0`, 50))[3]
    }
    expect(fill('a')).toBe(0)
    index.forget([3])
    expect(fill('b')).toBe(50)
  })

  it('sweeps a bounded part of its memory at once, however small an endpoint is', () => {
    const index = small(32, 32, 100_000)
    index.holds(0, 1)
    const hand = new Int32Array(index.state.memory, 0, 1)
    expect(index.state.buckets).toBeGreaterThan(4 * 65_536)
    index.record(long('a', 60), M, 0)
    index.record(long('b', 60), M, 0)
    expect(hand[0]).toBeGreaterThan(0)
    expect(hand[0]).toBeLessThanOrEqual(2 * 2048)
  })

  it('lets tails go before heads', () => {
    const index = small(32, 1, 300)
    const head = long('head', 20)
    for (let i = 0; i < 200; i++) {
      index.record(chain(...Array.from({ length: 20 }, (_, k) => `head ${k}`), `tail ${i}`, `end ${i}`), M, 0)
      expect(matches(index, head)[0]).toBe(20)
    }
    const first = chain(...Array.from({ length: 20 }, (_, k) => `head ${k}`), 'tail 0', 'end 0')
    expect(matches(index, first)[0]).toBe(20)
  })

  it('forgets endpoints that have gone', () => {
    const index = small(64, 4)
    const shared = long('shared', 10)
    for (const slot of [0, 5, 40]) index.record(shared, M, slot)
    index.record(long('own', 10), M, 5)
    index.forget([5, 40])
    const matched = matches(index, shared)
    expect([matched[0], matched[5], matched[40]]).toEqual([10, 0, 0])
    expect(matches(index, long('own', 10))[5]).toBe(0)
  })

  it('keeps what it knows when it grows', () => {
    const index = small(32, 2, 500)
    index.record(long('p', 40), M, 3)
    const buckets = index.state.buckets
    index.reserve({ slots: 200, endpoints: 150, blocksPerEndpoint: 500 })
    expect(index.state.buckets).toBeGreaterThan(buckets)
    expect(matches(index, long('p', 40))[3]).toBe(40)
    index.record(long('p', 40), M, 190)
    expect(matches(index, long('p', 40))[190]).toBe(40)
    const state = index.state
    index.reserve({ slots: 32, endpoints: 2, blocksPerEndpoint: 500 })
    expect(index.state).toBe(state)
  })

  it('grows without a copy of its own of the table in between', () => {
    const index = small(32, 40, 5000)
    for (let i = 0; i < 1000; i++) index.record(long(`p ${i}`, 100), M, i % 32)
    const before = process.memoryUsage().heapUsed
    index.reserve({ slots: 64, endpoints: 80, blocksPerEndpoint: 5000 })
    // 100,000 entries; tuples of them were ten times as much.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(2 * 1024 * 1024)
    expect(matches(index, long('p 999', 100))[999 % 32]).toBe(100)
  })

  it('survives more blocks than it has room for', () => {
    const index = small(32, 1, 20)
    for (let i = 0; i < 500; i++) index.record(long(`big ${i}`, 100), M, 0)
    expect(index.match(long('big 499', 100), M, new Int32Array(32))).toBeGreaterThan(0)
  })

  it('is shared by its state', () => {
    const index = small()
    const other = new PrefixIndex(index.state)
    other.record(chain('a', 'b'), M, 2)
    expect(matches(index)[2]).toBe(2)
  })
})
