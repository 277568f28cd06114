/** What a run of the contest comes to, by the measures of the placement benchmark. */
import { type Outcome, percentile, unloaded } from '../placement/simulation.ts'
import type { Workload } from '../placement/workloads.ts'
import type { Answer } from './load.ts'

/** @param hits share of the prompts' tokens that the replicas say they had in their caches */
export function outcomeOf(workload: Workload, contender: string, answers: readonly Answer[], hits: number): Outcome {
  const ttfts = answers.map(({ whole, ttft }) => (whole && ttft !== undefined ? ttft : Number.POSITIVE_INFINITY))
  const good = answers.filter(
    ({ arrival }, i) => ttfts[i]! <= 2 * unloaded(workload.yardstick, arrival.prompt.length) + 100,
  )
  const sorted = ttfts.toSorted((a, b) => a - b)
  const tpots = answers.flatMap(({ tpot }) => tpot ?? []).sort((a, b) => a - b)
  return {
    workload: workload.name,
    contender,
    requests: answers.length,
    ttft: { p50: percentile(sorted, 0.5), p90: percentile(sorted, 0.9), p99: percentile(sorted, 0.99) },
    tpot: percentile(tpots, 0.5),
    good: good.length / answers.length,
    hits,
    failed: answers.filter(({ whole }) => !whole).length,
  }
}

/** The reasons of failures, with how often each was given. */
export function failuresOf(answers: readonly Answer[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { failure } of answers) {
    if (failure !== undefined) counts.set(failure, (counts.get(failure) ?? 0) + 1)
  }
  return counts
}
