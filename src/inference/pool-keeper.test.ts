import { expect, it } from '@jest/globals'
import type { FlowControlPlan } from './flow-control/flow-plan.ts'
import { PickResult, type PickRequest } from './pick.ts'
import { Pool } from './pool.ts'
import { PoolKeeper } from './pool-keeper.ts'
import { PrefixIndex, prefixSeed } from './prefix-index.ts'
import { hasherOf, poolPlan, request } from './testing.ts'

it("what threads with an older plan note of an endpoint that leaves does not go to its slot's next tenant", () => {
  const keeper = new PoolKeeper(
    poolPlan(['old:1', 'b:1']),
    { releaseBy: 'response', threads: 2 },
    { version: 0, adopted: 0 },
  )
  const { table } = keeper
  const slot = table.slotOf('old:1')!
  const pool = new Pool(keeper.share(), { releaseBy: 'response', thread: 1 })
  const prefix = hasherOf('p'.repeat(4000))
  const wish: PickRequest = request({ prefix, promptBytes: 4000, subset: ['old:1'] })
  const holds = () => {
    const { index } = keeper.share()
    const matched = new Int32Array(64)
    if (typeof index === 'object') new PrefixIndex(index).match(prefix, prefixSeed('m'), matched)
    return matched[slot]
  }
  keeper.update(poolPlan(['b:1']), { version: 1, adopted: 0 })
  pool.pick(wish, new PickResult())
  expect(holds()).toBeGreaterThan(0)
  // The thread has adopted version 1: the slot is free for another.
  keeper.update(poolPlan(['b:1', 'new:1']), { version: 2, adopted: 1 })
  expect(table.slotOf('new:1')).toBe(slot)
  expect(holds()).toBe(0)
})

it('a plan with more priorities than fit changes nothing', () => {
  const options = { releaseBy: 'response', threads: 2 } as const
  const keeper = new PoolKeeper(poolPlan(['a:1']), options, { version: 0, adopted: 0 })
  const before = keeper.plan
  const next = poolPlan(['b:1'])
  const band = {
    maxBytes: 1e9,
    maxRequests: 5000,
    fairness: { type: 'global-strict-fairness-policy', parameters: {} },
    ordering: { type: 'fcfs-ordering-policy', parameters: {} },
  }
  const bands = Array.from({ length: 65 }, (_, priority) => ({ ...band, priority }))
  const flowControl: FlowControlPlan = {
    requestTtlMs: 0,
    noEndpointTtlMs: 0,
    defaultBand: band,
    defaultNegativeBand: band,
    bands,
    usageLimit: { type: 'static-usage-limit-policy', parameters: {} },
    saturation: { type: 'concurrency-detector', parameters: { maxConcurrency: 1 } },
  }
  const tooMuch = { ...next, scheduling: { ...next.scheduling, flowControl } }
  expect(() => keeper.update(tooMuch, { version: 1, adopted: 0 })).toThrow(RangeError)
  expect(keeper.plan).toBe(before)
  expect(keeper.table.slotOf('b:1')).toBeUndefined()
  expect(keeper.table.slotOf('a:1')).toBeDefined()
})
