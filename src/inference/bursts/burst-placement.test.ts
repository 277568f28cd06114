import { describe, expect, it } from '@jest/globals'
import { PrefixHasher } from '../prefix-hasher.ts'
import { BurstPlacement, type BurstPrompt, type BurstReplicas } from './burst-placement.ts'
import type { BurstPlan } from './burst-plan.ts'
import { PromptBlocks } from './prompt-blocks.ts'

const BLOCK = 64

const plan = (changes: Partial<BurstPlan> = {}): BurstPlan => ({
  producer: 'burst',
  windowMs: 100,
  maxPerReplica: 0,
  stride: 1,
  maxBlocks: 2048,
  minColocateBlocks: 0,
  maxHeld: 1000,
  balanceBy: 'requests',
  profile: 0,
  ...changes,
})

/** A block for each letter; a digit is an incomplete one. */
function prompt(letters: string, scope = 'm', given: BurstPlan = plan()): BurstPrompt {
  const hasher = new PrefixHasher()
  hasher.reset(BLOCK, 1 << 20)
  const text = letters.replaceAll(/./g, letter => letter.repeat(/\d/.test(letter) ? 10 : BLOCK))
  hasher.update(Buffer.from(text), 0, text.length)
  return { blocks: new PromptBlocks(hasher, given, scope), slot: -1, left: false }
}

function replicas(count: number, running: readonly number[] = []): BurstReplicas {
  return {
    count,
    slots: Int32Array.from({ length: count }, (_, i) => i),
    running: Float64Array.from({ length: count }, (_, i) => running[i] ?? 0),
  }
}

/** The slots of requests with these prompts. */
function placed(
  prompts: readonly string[],
  of: BurstReplicas | ((letters: string) => BurstReplicas),
  changes: Partial<BurstPlan> = {},
): number[] {
  const given = plan(changes)
  const burst = prompts.map(letters => prompt(letters, 'm', given))
  const found = new BurstPlacement(given)
  found.begin(burst)
  const replicasOf = (each: BurstPrompt) => (typeof of === 'function' ? of(prompts[burst.indexOf(each)]!) : of)
  while (found.placeSome(1, 64, replicasOf)) continue
  return burst.map(({ slot }) => slot)
}

const times = (count: number, letters: string): string[] => Array.from({ length: count }, () => letters)
const counts = (slots: readonly number[]): number[] => {
  const found = new Map<number, number>()
  for (const slot of slots) found.set(slot, (found.get(slot) ?? 0) + 1)
  return [...found.values()].sort((a, b) => b - a)
}

describe('places of a burst (llm-d: burst-prefix-cache-producer)', () => {
  it.each<[string, number, Partial<BurstPlan>, number, number[]]>([
    ['all of a group go to one replica', 8, {}, 4, [8]],
    ['at most so many of a group at a replica', 8, { maxPerReplica: 2 }, 4, [2, 2, 2, 2]],
    ['a replica is filled before the next one is used', 8, { maxPerReplica: 4 }, 4, [4, 4]],
    ['a rest goes to one more replica', 9, { maxPerReplica: 4 }, 4, [4, 4, 1]],
    ['more than all may have are dealt out evenly', 8, { maxPerReplica: 2 }, 2, [4, 4]],
    ['one replica gets everything', 5, { maxPerReplica: 2 }, 1, [5]],
  ])('%s', (_name, requests, changes, count, expected) => {
    expect(counts(placed(times(requests, 'abc'), replicas(count), changes))).toEqual(expected)
  })

  it('a request that is alone has no place, whatever it begins with', () => {
    expect(placed(['abc', 'abd', 'x'], replicas(2))).toEqual([-1, -1, -1])
  })

  it('without replicas nothing has a place', () => {
    expect(placed(['abc', 'abc'], replicas(0))).toEqual([-1, -1])
  })

  it('groups go to different replicas, the longest first to one with the smallest batch', () => {
    const slots = placed(['a', 'a', 'bcd', 'bcd', 'ef', 'ef'], replicas(3, [2, 0, 1]))
    expect(slots).toEqual([0, 0, 1, 1, 2, 2])
  })

  it('what is left over of a group goes on being balanced with the others', () => {
    const slots = placed([...times(3, 'abcd'), ...times(2, 'efg'), ...times(2, 'hi')], replicas(2, [0, 1]))
    expect(slots).toEqual([0, 0, 0, 1, 1, 1, 1])
  })

  it.each([1, 2, 4])('the end of a prompt tells it from others, with blocks of %s', stride => {
    const of = (prompts: readonly string[]) =>
      counts(placed(prompts, replicas(1), { stride }).filter(slot => slot >= 0))
    expect(of(['abc1', 'abc2'])).toEqual([])
    expect(of(['abc1', 'abc1', 'abc2'])).toEqual([2])
    expect(of(['1', '1', '2'])).toEqual([2])
    expect(of(['abc', 'abc1'])).toEqual([])
    expect(of(['abcd', 'abcde'])).toEqual([])
    // Beyond what is looked at they may differ.
    expect(counts(placed(['abcdX', 'abcdY', 'abc'], replicas(1), { stride, maxBlocks: 4 / stride }))).toEqual([2, 1])
  })

  it('prompts of other models, or with another salt, are others', () => {
    const burst = [prompt('abc', 'm'), prompt('abc', 'n'), prompt('abc', 'm')]
    const found = new BurstPlacement(plan({ minColocateBlocks: 1 }))
    found.begin(burst)
    expect(found.placeSome(64, 8, () => replicas(1))).toBe(false)
    expect(burst.map(({ slot }) => slot)).toEqual([0, -1, 0])
  })

  it('every group has its own replicas', () => {
    const only = (slot: number): BurstReplicas => ({ ...replicas(1), slots: Int32Array.of(slot) })
    expect(placed(['a', 'b', 'a', 'b'], letters => only(letters === 'a' ? 5 : 3))).toEqual([5, 3, 5, 3])
  })

  it('threads that have a part of the burst each, in another order, agree', () => {
    const first = ['ab', 'cd', 'ef', 'gh', 'ab', 'cd', 'ef', 'gh']
    const second = ['gh', 'gh', 'ef', 'ab', 'cd', 'ef', 'cd', 'ab']
    const places = (prompts: readonly string[]) => {
      const slots = placed(prompts, replicas(4))
      return Object.fromEntries(prompts.map((letters, i) => [letters, slots[i]]))
    }
    expect(places(first)).toEqual(places(second))
    expect(new Set(Object.values(places(first))).size).toBe(4)
  })
})

describe('related prompts', () => {
  const near = { minColocateBlocks: 2 }

  it('families stay together, each at its own replica', () => {
    const slots = placed(['abc', 'abc', 'abd', 'abd', 'xyc', 'xyc', 'xyd', 'xyd'], replicas(2), near)
    expect(slots.slice(0, 4)).toEqual(times(4, '').map(() => slots[0]))
    expect(slots.slice(4)).toEqual(times(4, '').map(() => slots[4]))
    expect(slots[0]).not.toBe(slots[4])
  })

  it('too little in common is nothing', () => {
    const slots = placed(['abc', 'abc', 'abd', 'abd'], replicas(2), { minColocateBlocks: 3 })
    expect(slots[0]).not.toBe(slots[2])
  })

  it('no replica gets more than its share for that', () => {
    const prompts = ['abc', 'abd', 'abe', 'abf'].flatMap(letters => times(2, letters))
    expect(counts(placed(prompts, replicas(4), near))).toEqual([2, 2, 2, 2])
  })

  it('a single request joins those that begin like it; one that is like no other has no place', () => {
    const slots = placed(['abc', 'abc', 'xyc', 'xyc', 'xyd', 'abd', 'qrs'], replicas(2), near)
    expect([slots[5], slots[4], slots[6]]).toEqual([slots[0], slots[2], -1])
  })

  it('single requests alone do too, evenly', () => {
    expect(counts(placed(['abc', 'abd', 'abe', 'abf'], replicas(2), near))).toEqual([2, 2])
  })

  it('goes to where the most of it is', () => {
    // The first group may only be at 0, the second one only at 2.
    const only: Readonly<Record<string, number>> = { abcdefg: 0, axyzuv: 2 }
    const of = (letters: string): BurstReplicas =>
      only[letters] === undefined ? replicas(3) : { ...replicas(1), slots: Int32Array.of(only[letters]) }
    const slots = placed(['abcdefg', 'abcdefg', 'axyzuv', 'axyzuv', 'axyq', 'abq', ...times(9, 'k')], of, {
      minColocateBlocks: 1,
    })
    expect(slots.slice(0, 6)).toEqual([0, 0, 2, 2, 2, 0])
  })
})

describe('balanced by tokens', () => {
  const byTokens = { balanceBy: 'tokens' } as const

  it('a long prompt weighs more than short ones', () => {
    const prompts = ['abcd', 'abcd', 'x', 'x', 'y', 'y']
    const requests = placed(prompts, replicas(2))
    const tokens = placed(prompts, replicas(2), byTokens)
    expect(requests[2]).not.toBe(requests[4])
    expect([tokens[2], tokens[4]]).toEqual([1 - tokens[0]!, 1 - tokens[0]!])
  })

  it('what a replica has already is not counted again', () => {
    const prompts = ['abcdefghij', 'abcdefghik', 'abcdefghil'].flatMap(letters => times(2, letters))
    const slots = placed(prompts, replicas(2), { ...byTokens, minColocateBlocks: 9 })
    expect(new Set(slots).size).toBe(1)
  })

  it('a group on several replicas is counted once on each', () => {
    const slots = placed([...times(4, 'abcd'), 'xyz', 'xyz', 'q', 'q'], replicas(3, [0, 1, 2]), {
      ...byTokens,
      maxPerReplica: 2,
    })
    expect(slots).toEqual([0, 0, 1, 1, 2, 2, 2, 2])
  })
})
