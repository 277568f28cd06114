import { expect, it, jest } from '@jest/globals'
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

it('however many blocks there are, few move for one that comes or goes', () => {
  const blocks = new EngineBlocks()
  const move = jest.spyOn(Object.getPrototypeOf(Int32Array.prototype) as Int32Array, 'set')
  let most = 0
  const counted = (change: () => void) => {
    move.mockClear()
    change()
    most = Math.max(most, move.mock.calls.length)
  }
  try {
    for (let i = 1; i <= 30_000; i++) counted(() => blocks.add(i, i, i, 0, 16, 0))
    for (let i = 1; i <= 30_000; i++) counted(() => blocks.delete(blocks.find(i, i)))
  } finally {
    move.mockRestore()
  }
  expect(blocks.count).toBe(0)
  expect(most).toBeLessThan(1000)
})

it('forgets what is doubtful part by part, while others come, go, are confirmed and doubted again', () => {
  const blocks = new EngineBlocks()
  const random = new Random(3)
  for (let i = 1; i <= 20_000; i++) blocks.add(i, i, i, 0, 16, 0)
  blocks.doubt()
  // Told of since then: every third.
  for (let i = 3; i <= 20_000; i += 3) blocks.confirm(blocks.find(i, i))
  blocks.beginForgetting()
  const alive = new Set(Array.from({ length: 6666 }, (_, i) => 3 * (i + 1)))
  const gone = new Set<number>()
  const forget = () => blocks.forgetSome(row => gone.add(blocks.a(row)))
  let next = 20_001
  let most = 0
  for (let rows = forget(), parts = 0; rows > 0; rows = forget(), parts++) {
    most = Math.max(most, rows)
    if (parts === 5) blocks.doubt()
    // Splits and joins happen in the middle of it.
    for (let i = 0; i < 300; i++) {
      blocks.add(next, next, next, 0, 16, 0)
      alive.add(next++)
    }
    for (let i = 0; i < 200; i++) {
      const one = 1 + random.below(next - 1)
      const row = blocks.find(one, one)
      if (row < 0) continue
      blocks.delete(row)
      alive.delete(one)
    }
  }
  expect(most).toBeLessThanOrEqual(512)
  expect(gone.size).toBeGreaterThan(5000)
  expect([...gone].filter(one => one > 20_000 || one % 3 === 0)).toEqual([])
  expect(blocks.count).toBe(alive.size)
  expect([...alive].filter(one => blocks.find(one, one) < 0)).toEqual([])
  // The doubt that came meanwhile counts for all that are there.
  blocks.beginForgetting()
  while (forget() > 0);
  expect(blocks.count).toBe(0)
})
