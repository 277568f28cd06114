import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { KvCache } from './kv-cache.ts'

describe('KvCache', () => {
  it('takes blocks without content before cached ones', () => {
    const cache = new KvCache(3)
    const [block] = cache.allocate([], 1)!
    cache.publish(block!, 7)
    cache.release([block!])
    const two = cache.allocate([], 2)!
    expect(two).not.toContain(block)
    expect(cache.match([7], 9)).toEqual([block])
    expect(cache.allocate([], 1)).toEqual([block])
    expect(cache.match([7], 9)).toEqual([])
    expect(cache.evictions).toBe(1)
  })

  it('does not count a cached free block as room for new ones', () => {
    const cache = new KvCache(2)
    const [block] = cache.allocate([], 1)!
    cache.publish(block!, 7)
    cache.release([block!])
    expect(cache.allocate([block!], 2)).toBeUndefined()
    expect(cache.freeBlocks).toBe(2)
    expect(cache.allocate([block!], 1)).toHaveLength(2)
  })

  it('keeps a block that a second sequence still holds', () => {
    const cache = new KvCache(2)
    const first = cache.allocate([], 1)!
    cache.publish(first[0]!, 7)
    const second = cache.allocate(cache.match([7], 1), 0)!
    cache.release(first)
    expect(cache.usage).toBe(0.5)
    cache.release(second)
    expect(cache.usage).toBe(0)
  })

  it('never loses a block nor gives one out twice', () => {
    const steps = fc.array(fc.record({ keys: fc.array(fc.nat(12), { maxLength: 5 }), keep: fc.nat(4) }), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(steps, list => {
        const cache = new KvCache(8)
        const held: number[][] = []
        for (const { keys, keep } of list) {
          const unique = [...new Set(keys)]
          const cached = cache.match(unique, unique.length)
          const blocks = cache.allocate(cached, unique.length - cached.length)
          if (blocks !== undefined) {
            for (const [i, block] of blocks.entries()) cache.publish(block, unique[i]!)
            held.push(blocks)
          }
          while (held.length > keep) cache.release(held.shift()!)
          const inUse = new Set(held.flat())
          expect(cache.freeBlocks).toBe(8 - inUse.size)
        }
        for (const blocks of held) cache.release(blocks)
        expect(new Set(cache.allocate([], 8)).size).toBe(8)
      }),
    )
  })
})
