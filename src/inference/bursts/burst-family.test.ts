import { afterEach, expect, it, jest } from '@jest/globals'
import * as fc from 'fast-check'
import { PrefixHasher } from '../prefix-hasher.ts'
import { BurstFamily } from './burst-family.ts'
import { PromptBlocks } from './prompt-blocks.ts'

const BLOCK = 64

afterEach(() => {
  jest.restoreAllMocks()
})

/** A block for each letter. */
function blocks(letters: string, stride = 1): PromptBlocks {
  const hasher = new PrefixHasher()
  hasher.reset(BLOCK, 1 << 12)
  const text = letters.replaceAll(/./g, letter => letter.repeat(BLOCK))
  hasher.update(Buffer.from(text), 0, text.length)
  return new PromptBlocks(hasher, { stride, maxBlocks: 64 }, 'm')
}

it('knows of each slot the most that a member has in common with one that is there', () => {
  const prompt = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 8 }).map(text => `a${text}`)
  const placed = fc.array(fc.tuple(prompt, fc.uniqueArray(fc.nat(4), { maxLength: 3 })), { maxLength: 30 })
  fc.assert(
    fc.property(placed, fc.integer({ min: 1, max: 3 }), (all, stride) => {
      const different = [...new Map(all).entries()]
      const members = different.map(([letters]) => blocks(letters, stride))
      const family = new BurstFamily(members)
      for (const [member, [, slots]] of different.entries()) {
        const expected = new Map<number, number>()
        for (const [other, [, theirs]] of different.slice(0, member).entries()) {
          const common = members[member]!.common(members[other]!)
          for (const slot of theirs) if (common > (expected.get(slot) ?? 0)) expected.set(slot, common)
        }
        expect(family.held(member)).toEqual(expected)
        family.place(member, slots)
      }
    }),
  )
})

it('a thousand are compared n log n times, and never after the family is made', () => {
  const members = Array.from({ length: 1024 }, (_, i) =>
    blocks(`a${i.toString(2).padStart(10, '0').replaceAll('0', 'b').replaceAll('1', 'c')}`),
  )
  const common = jest.spyOn(PromptBlocks.prototype, 'common')
  const family = new BurstFamily(members)
  const comparisons = common.mock.calls.length
  expect(comparisons).toBeGreaterThan(1000)
  expect(comparisons).toBeLessThan(1024 * 12)
  for (const member of members.keys()) {
    expect(family.held(member).size).toBe(Math.min(member, 100))
    family.place(member, [member % 100])
  }
  expect(common).toHaveBeenCalledTimes(comparisons)
})
