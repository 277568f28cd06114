/** Plays one target on a thread of its own, so that a hang can be noticed. */
import { parentPort, workerData } from 'node:worker_threads'
import { fuzz } from './run.ts'
import type { FuzzOptions, FuzzRun } from './run.ts'
import { FUZZ_TARGETS } from './targets.ts'

export interface FuzzTask extends FuzzOptions {
  readonly name: string
}

export interface FuzzNews {
  readonly unit: string
  readonly run?: FuzzRun
  /** The last news. */
  readonly end?: { readonly finding: string } | { readonly summary: string }
}

const { name, ...options } = workerData as FuzzTask
const target = FUZZ_TARGETS[name]!()

function tell(news: Omit<FuzzNews, 'unit'>): void {
  parentPort!.postMessage({ unit: target.unit, ...news } satisfies FuzzNews)
}

try {
  const run = await fuzz(target, options, progress => tell({ run: progress }))
  const parts = [...target.seen].toSorted(([, a], [, b]) => b - a).map(([what, times]) => `${what} ${times}`)
  tell({ run, end: { summary: parts.join(', ') } })
} catch (error) {
  const { message, cause } = error as Error
  tell({ end: { finding: `${message}\n${(cause as Error | undefined)?.stack ?? ''}` } })
} finally {
  await target.close?.()
}
