import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { expect, it } from '@jest/globals'
import { waitFor } from '../../../test/support/wait-for.ts'
import { ALONE, EndpointSlots } from '../endpoint-slots.ts'
import type { EvictionThreadStart, FromEvictionThread, ToEvictionThread } from './eviction-thread.testing.ts'
import { FlowKeeper } from './flow-keeper.ts'
import type { BandTemplate, FlowControlPlan } from './flow-plan.ts'

const MODULE = fileURLToPath(new URL('./eviction-thread.testing.ts', import.meta.url))
const THREADS = 3
const HELD = 4

const BAND: BandTemplate = {
  maxBytes: 1e9,
  maxRequests: 5000,
  fairness: { type: 'global-strict-fairness-policy', parameters: {} },
  ordering: { type: 'fcfs-ordering-policy', parameters: {} },
}

it('real threads call back as many requests as are needed, each others’ too, and no more', async () => {
  const plan: FlowControlPlan = {
    requestTtlMs: 0,
    noEndpointTtlMs: 0,
    defaultBand: BAND,
    defaultNegativeBand: BAND,
    bands: [1, 0, -1].map(priority => ({ priority, ...BAND })),
    usageLimit: { type: 'static-usage-limit-policy', parameters: {} },
    saturation: { type: 'concurrency-detector', parameters: { maxConcurrency: THREADS * HELD } },
    evicts: true,
  }
  const slots = new EndpointSlots({ releaseBy: 'response', threads: THREADS + 1 })
  slots.update([{ address: '10.0.0.1:1', labels: {} }], ALONE)
  const keeper = new FlowKeeper(plan, THREADS + 1, slots.table, 50)
  const news: (readonly [thread: number, FromEvictionThread])[] = []
  const workers = Array.from({ length: THREADS }, (_, i) => {
    const start: EvictionThreadStart = {
      plan,
      share: keeper.share(),
      state: slots.table.state,
      slots: slots.share(),
      thread: i + 1,
    }
    const worker = new Worker(MODULE, { workerData: start })
    worker.on('message', (message: FromEvictionThread) => news.push([i, message]))
    return worker
  })
  const count = (wanted: FromEvictionThread) => news.filter(([, message]) => message === wanted).length
  const post = (thread: number, message: ToEvictionThread) => workers[thread]!.postMessage(message)
  try {
    for (let i = 0; i < THREADS; i++) post(i, { type: 'hold', count: HELD })
    await waitFor('all to be held', () => count('held') === THREADS)
    post(0, { type: 'want', count: 3 })
    await waitFor('three to be sent', () => count('sent') === 3)
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(count('revoked')).toBe(3)
    // Two threads at once want all that is left.
    post(0, { type: 'want', count: 5 })
    post(1, { type: 'want', count: 5 })
    await waitFor('all that can be called back', () => count('revoked') === THREADS * HELD, { timeoutMs: 30_000 })
    await waitFor('as many to be sent', () => count('sent') === THREADS * HELD)
    for (let i = 0; i < THREADS; i++)
      expect(news.filter(([thread, message]) => thread === i && message === 'revoked')).toHaveLength(HELD)
    const { bands, revocations } = keeper.figures(Date.now())
    expect(bands.map(({ revocationsIssued }) => revocationsIssued)).toEqual([0, 0, THREADS * HELD])
    expect(revocations).toMatchObject({ confirmed: THREADS * HELD, timedOut: 0 })
    expect(bands[0]!.requests).toBe(1)
  } finally {
    await Promise.all(workers.map(worker => worker.terminate()))
  }
})
