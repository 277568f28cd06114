/** A worker for `kv-hammer.test.ts`: looks prompts up as fast as it can in an index that changes all the time. */
import { setImmediate as turn } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import type { KvIndexState } from './kv-index-state.ts'
import { KvIndex } from './kv-index.ts'
import { count, tokens } from './testing.ts'
import type { TokenIds } from './token-ids.ts'

export const BLOCK = 4
export const BLOCKS = 16
export const PROMPTS = 512
export const SLOTS = 32

/** Each prompt is only ever held by one endpoint. */
export const ownerOf = (prompt: number): number => prompt % SLOTS

export function promptOf(prompt: number): TokenIds {
  const first = prompt * 1000 + 1
  return tokens([count(first + BLOCK * BLOCKS - 1, first)])
}

export interface KvHammerStart {
  readonly state: KvIndexState
  readonly thread: number
}

/** What a reader has seen: endpoints that never held what was looked up, and prompts whose owner held some of them, or none. */
export interface KvHammered {
  readonly wrong: number
  readonly hits: number
  readonly misses: number
}

if (parentPort !== null && workerData !== null) {
  const { state, thread } = workerData as KvHammerStart
  const index = new KvIndex(state, [1])
  const prompts = Array.from({ length: PROMPTS }, (_, prompt) => promptOf(prompt))
  const matched = new Float64Array(state.slots)
  const seen = { wrong: 0, hits: 0, misses: 0 }
  const asked = { stop: false }
  parentPort.once('message', () => (asked.stop = true))
  parentPort.postMessage('ready')
  for (let at = thread; !asked.stop; ) {
    for (let i = 0; i < 200; i++) {
      at = (at + 7) % PROMPTS
      index.match(prompts[at]!, '', '', matched, undefined, 0)
      const owner = ownerOf(at)
      for (let slot = 0; slot < SLOTS; slot++) if (slot !== owner && matched[slot]! > 0) seen.wrong++
      if (matched[owner]! > 0) seen.hits++
      else seen.misses++
    }
    await turn()
  }
  parentPort.postMessage(seen satisfies KvHammered)
}
