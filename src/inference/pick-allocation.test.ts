import { describe, expect, it } from '@jest/globals'
import { PickResult, PickStatus } from './pool.ts'
import type { SchedulingPlan } from './pool-plan.ts'
import { DEFAULT_SCORERS } from './scheduling/scorers/registry.ts'
import { addresses, hasherOf, LocalPool, poolPlan, request, scrape } from './testing.ts'

const ENDPOINTS = 50
const BATCH = 500
const BATCHES = 31
/** V8 hands fractions to functions that it does not inline as objects of 16 bytes: a few of them, whatever the number of endpoints. */
const BOXED_BYTES = 128
/** V8 optimises code when it comes to it: until then even arithmetic allocates. */
const MOST_ROUNDS = 40

const LLM_D: SchedulingPlan['scorers'] = [
  { type: 'queue-scorer', weight: 2, parameters: {} },
  { type: 'kv-cache-utilization-scorer', weight: 2, parameters: {} },
  { type: 'prefix-cache-scorer', weight: 3, parameters: {} },
]
const SHARES: SchedulingPlan['scorers'] = [
  { type: 'queue-scorer', weight: 2 },
  { type: 'running-requests-size-scorer', weight: 1 },
  { type: 'lora-affinity-scorer', weight: 2 },
  { type: 'prefix-cache-scorer', weight: 5 },
]

/** Bytes of heap a call: the median of batches, so that neither a collection nor a compilation in some of them counts. */
function bytesPerCall(run: (i: number) => void): number {
  const grown: number[] = []
  for (let batch = 0; batch < BATCHES; batch++) {
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < BATCH; i++) run(batch * BATCH + i)
    grown.push(process.memoryUsage().heapUsed - before)
  }
  return grown.sort((a, b) => a - b)[BATCHES >> 1]! / BATCH
}

function settled(run: (i: number) => void): number {
  let bytes = Number.POSITIVE_INFINITY
  for (let round = 0; round < MOST_ROUNDS && bytes > BOXED_BYTES; round++) bytes = Math.min(bytes, bytesPerCall(run))
  return bytes
}

describe('allocation', () => {
  it.each([
    ["llm-d's default profile", LLM_D],
    ['our default', DEFAULT_SCORERS],
    ['weighted shares', SHARES],
  ])(
    'a pick makes no objects: %s',
    (_name, scorers) => {
      const pool = new LocalPool(poolPlan(addresses(ENDPOINTS), { scheduling: { scorers } }), { releaseBy: 'response' })
      for (let slot = 0; slot < ENDPOINTS; slot++)
        scrape(pool, slot, { waiting: slot % 3, running: slot % 5, kvUsage: slot / ENDPOINTS }, 1000)
      const hashers = Array.from({ length: 16 }, (_, i) => hasherOf('You are kind. '.repeat(60) + `${i}, `.repeat(400)))
      const wish = request({ promptBytes: 2048 })
      const out = new PickResult()
      const pick = (i: number): void => {
        wish.prefix = hashers[i % hashers.length]
        wish.nowMs = 1000 + (i >> 8)
        if (pool.pick(wish, out) !== PickStatus.OK) throw new Error('not picked')
        pool.addresses(out)
        pool.inFlight.release(out.slots[0]!, out.generations[0]!, out.tokens)
      }
      expect(settled(pick)).toBeLessThanOrEqual(BOXED_BYTES)
    },
    120_000,
  )

  it('is seen when there is one', () => {
    const kept: object[] = []
    const bytes = bytesPerCall(i => (kept[i & 7] = Array.from({ length: ENDPOINTS }, () => i)))
    expect(bytes).toBeGreaterThan(BOXED_BYTES)
  })
})
