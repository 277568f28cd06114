import { expect, it } from '@jest/globals'
import { Random } from '../scheduling/random.ts'
import { EngineBlocks } from './engine-blocks.ts'

const MULTIPLIERS = [0x85ebca77, 0x85ebca6b, 0xc2b2ae35, 0x9e3779b1, 1, 0]

it('hashes that an engine has chosen to meet are spread as any others', () => {
  const chosen = new Map<string, (high: number) => number>(
    MULTIPLIERS.map(multiplier => [`${multiplier}`, high => Math.imul(high, multiplier | 0)]),
  )
  for (const lowOf of chosen.values()) {
    const blocks = new EngineBlocks()
    // With rows that all meet most are refused.
    let added = 0
    for (let high = 1; high <= 20_000; high++) if (blocks.add(lowOf(high), high, high, 0, 16, 0)) added++
    let found = 0
    for (let high = 1; high <= 20_000; high++) if (blocks.a(blocks.find(lowOf(high), high)) === high) found++
    expect([added, found]).toEqual([20_000, 20_000])
    expect(blocks.find(7, 20_001)).toBe(-1)
  }
})

it('finds what is left while blocks come and go, through growing and shrinking', () => {
  const blocks = new EngineBlocks()
  const random = new Random(1)
  const alive = new Map<number, number>()
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 5000; i++) {
      const low = random.below(1 << 30)
      if (alive.has(low)) continue
      alive.set(low, i)
      blocks.add(low, -low, i, round, 16, 0)
    }
    const keep = round % 2 === 0 ? 10 : alive.size
    for (const low of alive.keys()) {
      if (alive.size <= keep) break
      expect(blocks.lower(blocks.find(low, -low), 0)).toBe(true)
      alive.delete(low)
    }
    expect(blocks.count).toBe(alive.size)
    expect([...alive].filter(([low, a]) => blocks.a(blocks.find(low, -low)) !== a)).toEqual([])
  }
})

it('the deepest of few blocks is found, wherever it is looked for', () => {
  const blocks = new EngineBlocks()
  for (let i = 1; i <= 20_000; i++) blocks.add(i, i, 0, 0, i, 0)
  for (let i = 1; i <= 19_996; i++) blocks.delete(blocks.find(i, i))
  // Of a table that had stayed large a look at some rows would find nothing.
  for (let from = 0; from < 100; from++) expect(blocks.deepest(from)).toBeGreaterThanOrEqual(0)
})
