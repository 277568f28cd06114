/** With real threads. What they hardly ever meet, a reader between two steps of the writer, is in ./kv-index-interleaving.test.ts. */
import { expect, it } from '@jest/globals'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { Random } from '../scheduling/random.ts'
import { KeyCursor } from './key-cursor.ts'
import { BLOCK, type KvHammered, type KvHammerStart, ownerOf, PROMPTS, promptOf, SLOTS } from './kv-hammer.testing.ts'
import { KvIndexWriter } from './kv-index-writer.ts'

const MODULE = fileURLToPath(new URL('./kv-hammer.testing.ts', import.meta.url))
const CHANGES = 10_000

it('readers on other threads never take the blocks of one prompt for those of another', async () => {
  // Too small for all prompts, so that ways change hands all the time.
  const writer = new KvIndexWriter({ slots: SLOTS, tiers: 1, maxBytes: 1, maxKeys: 1500 })
  for (let slot = 0; slot < SLOTS; slot++) writer.register(slot, BLOCK)
  const { state } = writer
  const workers = [1, 2].map(thread => new Worker(MODULE, { workerData: { state, thread } satisfies KvHammerStart }))
  try {
    await Promise.all(workers.map(worker => once(worker, 'message')))
    const random = new Random(1)
    const cursor = new KeyCursor()
    for (let change = 0; change < CHANGES; change++) {
      const prompt = random.below(PROMPTS)
      const adds = random.below(3) > 0
      cursor.begin(promptOf(prompt), '', '')
      cursor.nextPrompt()
      while (cursor.advance(BLOCK)) {
        if (adds) writer.add(cursor.low, cursor.high, ownerOf(prompt), 0, cursor.position)
        else writer.remove(cursor.low, cursor.high, ownerOf(prompt), 0)
      }
      if (change % 100 === 0) await turn()
    }
    expect(writer.state).toBe(state)
    expect(writer.evicted).toBeGreaterThan(1000)
    const told = workers.map(async worker => (await once(worker, 'message')) as [KvHammered])
    for (const worker of workers) worker.postMessage('stop')
    for (const [{ wrong, hits, misses }] of await Promise.all(told)) {
      expect(wrong).toBe(0)
      expect(hits).toBeGreaterThan(0)
      expect(misses).toBeGreaterThan(0)
    }
  } finally {
    await Promise.all(workers.map(worker => worker.terminate()))
  }
}, 120_000)
