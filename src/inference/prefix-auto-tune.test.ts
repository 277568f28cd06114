import { describe, expect, it } from '@jest/globals'
import type { SchedulingPlan } from './pool-plan.ts'
import { PickResult, PickStatus } from './pool.ts'
import { addresses, hasherOf, LocalPool, poolPlan, request, scrape } from './testing.ts'

const NOW = 1000
/** Bytes of a block of the index (poolPlan). */
const BLOCK = 256
const OWN: Partial<SchedulingPlan> = {
  scorers: [{ type: 'prefix-cache-scorer', weight: 1, parameters: {} }],
  prefixAutoTune: true,
}
/** One of blocks of 512 bytes, beside an own one that is not tuned. */
const FURTHER: Partial<SchedulingPlan> = {
  scorers: [{ type: 'prefix-cache-scorer', weight: 1, parameters: { prefixMatchInfoProducerName: 'cpu' } }],
  prefixCaches: [{ name: 'cpu', stride: 2, blocksPerEndpoint: 4000, autoTune: true }],
}

function pool(count: number, scheduling: Partial<SchedulingPlan>): LocalPool {
  return new LocalPool(poolPlan(addresses(count), { scheduling }), { releaseBy: 'response' })
}

function asks(prompt: string) {
  return request({ nowMs: NOW, prefix: hasherOf(prompt), promptBytes: prompt.length })
}

/** Of the first ten of a hundred prompts of 20 blocks, those that are still taken for cached. */
function remembered(made: LocalPool): number {
  const result = new PickResult()
  const prompts = Array.from({ length: 100 }, (_, i) => `${i} `.padEnd(20 * BLOCK, String(i)))
  for (const prompt of prompts) made.pick(asks(prompt), result)
  return prompts.slice(0, 10).filter(prompt => {
    made.pick(asks(prompt), result)
    return result.reason === 'prefix-cache-scorer'
  }).length
}

/** `blockSize` in tokens, of four bytes each. */
function tuned(scheduling: Partial<SchedulingPlan>, blockSize: number, blockCount: number): LocalPool {
  const made = pool(2, scheduling)
  for (const slot of [0, 1]) scrape(made, slot, { blockSize, blockCount }, NOW)
  return made
}

describe('prefix caches with autoTune', () => {
  it.each([
    ['own', OWN],
    ['further', FURTHER],
  ])('forget what an engine of this size has forgotten: the %s one', (_, scheduling) => {
    expect(remembered(tuned(scheduling, 16, 100_000))).toBe(10)
    // 64 blocks of the index: three prompts.
    expect(remembered(tuned(scheduling, 16, 256))).toBe(0)
    // Engines that do not tell.
    expect(remembered(tuned(scheduling, 0, 256))).toBe(10)
  })

  it('are as large as configured without it', () => {
    expect(remembered(tuned({ ...OWN, prefixAutoTune: false }, 16, 256))).toBe(10)
    const made = tuned(OWN, 16, 256)
    made.update(poolPlan(addresses(2), { scheduling: { ...OWN, prefixAutoTune: false } }))
    for (const slot of [0, 1]) scrape(made, slot, { blockSize: 16, blockCount: 256 }, NOW)
    expect(remembered(made)).toBe(10)
  })

  it.each([
    ['own', OWN],
    ['further', FURTHER],
  ])('count whole blocks of the engine only: the %s one', (_, scheduling) => {
    /** Whether an endpoint with such blocks has something of a prompt of which it has seen 7 blocks of the index, 448 tokens. */
    const knows = (blockSize: number) => {
      const made = tuned(scheduling, blockSize, 9999)
      const result = new PickResult()
      made.pick(asks('a'.repeat(8 * BLOCK)), result)
      made.pick(asks('a'.repeat(7 * BLOCK).padEnd(16 * BLOCK, 'b')), result)
      return result.reason === 'prefix-cache-scorer'
    }
    expect([16, 128, 448, 449, 512].map(knows)).toEqual([true, true, scheduling === OWN, false, false])
  })

  it('hold a request that wants a cached prompt to that', () => {
    const result = new PickResult()
    const status = (blockSize: number) => {
      const made = tuned(OWN, blockSize, 9999)
      made.pick(asks('a'.repeat(4 * BLOCK)), result)
      return made.pick({ ...asks('a'.repeat(4 * BLOCK)), onlyCached: true }, result)
    }
    expect(status(256)).toBe(PickStatus.OK)
    expect(status(257)).toBe(PickStatus.NOT_CACHED)
  })
})
