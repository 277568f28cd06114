/** What a piece of code keeps in memory, once what it dropped has been collected. */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const PATIENCE_MS = 15_000
const MOST_SLEEP_MS = 1000

/** Bytes in use by this process's JavaScript: objects, and buffers outside the heap. */
export function bytesInUse(): number {
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/**
 * Bytes that are kept beyond `before` (of `bytesInUse`). V8 gives buffers back on a thread of its own, some time after their
 * collection; so a figure above `enough` is measured again for up to fifteen seconds, and the last one counts.
 */
export async function bytesKeptSince(before: number, enough: number): Promise<number> {
  const end = Date.now() + PATIENCE_MS
  // That thread needs its turn on a busy machine, and a collection takes it away.
  for (let wait = 10; ; wait = Math.min(MOST_SLEEP_MS, wait * 2)) {
    const kept = bytesInUse() - before
    if (kept < enough || Date.now() >= end) return kept
    await sleep(wait)
  }
}
