import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { PrefixHasher } from './prefix-hasher.ts'
import { hasherOf } from './testing.ts'

function hashes(hasher: PrefixHasher): string[] {
  return Array.from({ length: hasher.count }, (_, i) => `${hasher.high[i]}:${hasher.low[i]}`)
}

describe('PrefixHasher', () => {
  it('hashes whole blocks only', () => {
    expect(hasherOf('x'.repeat(255)).count).toBe(0)
    expect(hasherOf('x'.repeat(256)).count).toBe(1)
    expect(hasherOf('x'.repeat(1023)).count).toBe(3)
  })

  it('gives any split of a prompt the same hashes', () => {
    const prompt = Buffer.from(Array.from({ length: 9000 }, (_, i) => (i * 7919) & 255))
    for (const blockBytes of [8, 64, 256, 1000, 5000]) {
      const whole = new PrefixHasher()
      whole.reset(blockBytes, 8000)
      whole.update(prompt, 0, prompt.length)
      const split = new PrefixHasher()
      const check = (sizes: readonly number[]) => {
        split.reset(blockBytes, 8000)
        for (let at = 0, i = 0; at < prompt.length; i++) {
          const end = Math.min(prompt.length, at + sizes[i % sizes.length]!)
          split.update(prompt, at, end)
          at = end
        }
        expect(hashes(split)).toEqual(hashes(whole))
      }
      check([1])
      fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }), check), { numRuns: 20 })
    }
  })

  it('gives equal hashes exactly as far as prompts begin alike', () => {
    const a = hashes(hasherOf(`${'a'.repeat(1000)}${'b'.repeat(1048)}`))
    const b = hashes(hasherOf(`${'a'.repeat(1000)}${'c'.repeat(24)}${'b'.repeat(1024)}`))
    expect(a).toHaveLength(8)
    expect(b.slice(0, 3)).toEqual(a.slice(0, 3))
    for (let i = 3; i < 8; i++) expect(b[i]).not.toBe(a[i])
  })

  it('depends on the order of blocks and words', () => {
    const [x, y] = ['x'.repeat(256), 'y'.repeat(256)]
    expect(hashes(hasherOf(x + y)).at(-1)).not.toBe(hashes(hasherOf(y + x)).at(-1))
    const swapped = `abcdefgh${'-'.repeat(248)}`
    expect(hashes(hasherOf(`efghabcd${'-'.repeat(248)}`))).not.toEqual(hashes(hasherOf(swapped)))
  })

  it('has no collisions among similar blocks', () => {
    const seen = new Set<string>()
    const block = Buffer.alloc(64)
    const hasher = new PrefixHasher()
    let count = 0
    for (let position = 0; position < 64; position++) {
      for (let value = 1; value < 256; value++) {
        block.fill(0)
        block[position] = value
        hasher.reset(64, 64)
        hasher.update(block, 0, 64)
        seen.add(hashes(hasher)[0]!)
        count++
      }
    }
    for (let i = 0; i < 20_000; i++) {
      block.fill(0x20)
      block.write(`request number ${i}`, 20)
      hasher.reset(64, 64)
      hasher.update(block, 0, 64)
      seen.add(hashes(hasher)[0]!)
      count++
    }
    expect(seen.size).toBe(count)
  })

  it('stops at its bound and can be used again with other sizes', () => {
    const hasher = hasherOf('x'.repeat(5000), 256, 1000)
    expect([hasher.count, hasher.full]).toEqual([3, true])
    hasher.reset(100, 4000)
    expect([hasher.blockBytes, hasher.maxBlocks, hasher.count, hasher.full]).toEqual([104, 38, 0, false])
    hasher.update(Buffer.alloc(208), 0, 208)
    expect(hasher.count).toBe(2)
    hasher.reset(256, 0)
    hasher.update(Buffer.alloc(1000), 0, 1000)
    expect([hasher.count, hasher.full]).toEqual([0, true])
  })

  it('takes nothing from an earlier prompt', () => {
    const hasher = hasherOf('y'.repeat(1000))
    hasher.reset(256, 16 * 1024)
    hasher.update(Buffer.alloc(512, 'x'), 0, 512)
    expect(hashes(hasher)).toEqual(hashes(hasherOf('x'.repeat(512))))
  })
})
