/** A worker for `pool-threads.test.ts`: picks and releases as fast as it can on a pool that changes all the time. */
import { setImmediate as turn } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import type { PoolShare } from './pool-share.ts'
import { PickResult, PickStatus, Pool } from './pool.ts'
import { hasherOf, request } from './testing.ts'

export interface HammerStart {
  readonly share: PoolShare
  readonly thread: number
}

export type ToHammer =
  | { readonly type: 'adopt'; readonly version: number; readonly share: PoolShare }
  | { readonly type: 'stop' }

export type FromHammer =
  | { readonly type: 'adopted'; readonly version: number }
  /** `open`: picks not released, by address. */
  | { readonly type: 'stopped'; readonly picks: number; readonly open: ReadonlyMap<string, number> }

/** Picks that stay open at the end, at most. */
const OPEN = 40

const { share, thread } = workerData as HammerStart
const pool = new Pool(share, { releaseBy: 'response', thread, seed: thread })
const open: { readonly slot: number; readonly generation: number; readonly address: string }[] = []
const prefixes = ['one', 'two', 'three'].map(word => hasherOf(word.repeat(2000)))
const state = { stopped: false }
let picks = 0

parentPort!.on('message', (message: ToHammer) => {
  if (message.type === 'stop') {
    state.stopped = true
    return
  }
  pool.adopt(message.share)
  parentPort!.postMessage({ type: 'adopted', version: message.version } satisfies FromHammer)
})

const result = new PickResult()
while (!state.stopped) {
  for (let i = 0; i < 200; i++) {
    const wish = request({ prefix: prefixes[i % 3]!, promptBytes: 8000 })
    if (pool.pick(wish, result) !== PickStatus.OK) continue
    picks++
    open.push({ slot: result.slots[0]!, generation: result.generations[0]!, address: pool.addresses(result) })
    while (open.length > OPEN) {
      const done = open.shift()!
      pool.inFlight.release(done.slot, done.generation)
    }
  }
  await turn()
}
const counts = new Map<string, number>()
for (const { slot, generation, address } of open) {
  // What has gone and come back is another endpoint.
  if (pool.table.currentGeneration[slot] === generation) counts.set(address, (counts.get(address) ?? 0) + 1)
}
parentPort!.postMessage({ type: 'stopped', picks, open: counts } satisfies FromHammer)
