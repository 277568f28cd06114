/** What a pool of ten thousand endpoints takes, and that endless change of them takes no more. */
import { expect, it } from '@jest/globals'
import { createEndpointTableState } from './endpoint-table-state.ts'
import { PoolKeeper } from './pool-keeper.ts'
import { createPrefixIndexState } from './prefix-index-state.ts'
import { addresses, poolPlan } from './testing.ts'

const MIB = 1024 * 1024
const COUNT = 10_000

it('the table of ten thousand endpoints and eight threads is small', () => {
  const { integers, doubles, counters, estimates } = createEndpointTableState(COUNT, 9)
  const bytes = [integers, doubles, estimates, ...counters].reduce((sum, { byteLength }) => sum + byteLength, 0)
  expect(bytes / MIB).toBeLessThan(16)
})

it('a prefix index stays under its cap, and remembers less of each endpoint instead', () => {
  for (const endpoints of [1, 100, COUNT]) {
    const { memory } = createPrefixIndexState({ slots: endpoints, endpoints, blocksPerEndpoint: 32_768 })
    expect(memory.byteLength / MIB).toBeLessThan(130)
  }
})

it('slots are used again, also while threads are slow to adopt plans', () => {
  const all = addresses(3 * COUNT)
  const window = (from: number) => all.slice(from, from + COUNT)
  let version = 1
  const keeper = new PoolKeeper(
    poolPlan(window(0)),
    { releaseBy: 'response', threads: 2 },
    { version, adopted: version - 1 },
  )
  const { capacity } = keeper.table
  // A tenth is exchanged in each step; threads are three plans behind.
  for (let from = 0; from <= 2 * COUNT; from += COUNT / 10) {
    version++
    keeper.update(poolPlan(window(from)), { version, adopted: version - 3 })
    expect(keeper.table.liveCount).toBe(COUNT)
    const slots = keeper.share().slots.map(({ slot }) => slot)
    expect(new Set(slots).size).toBe(COUNT)
  }
  expect(keeper.table.capacity).toBeLessThanOrEqual(2 * capacity)
})
