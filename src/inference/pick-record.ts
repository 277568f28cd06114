/**
 * What a pick saw and why it chose: its candidates with their loads, what every scorer gave them, and what the filters dropped. Made only for
 * requests that somebody wants it of; plain data otherwise. Holds nothing of the prompt but a hash.
 */
import type { EndpointTable } from './endpoint-table.ts'
import { ADAPTERS_PER_ENDPOINT } from './endpoint-table.ts'
import type { Placement } from './pick.ts'
import type { Candidates } from './scheduling/candidates.ts'

export interface CandidateRecord {
  readonly address: string
  readonly labels: Readonly<Record<string, string>>
  readonly waiting: number
  readonly running: number
  readonly unseen: number
  readonly inFlight: number
  readonly kvUsage: number
  /** Share of the prompt that its cache presumably has. */
  readonly prefix: number
  /** Its load is a guess: it was not scraped lately. */
  readonly unknown: boolean
  /** Ids of LoRA adapters (./adapter-id.ts). */
  readonly runningAdapters: readonly number[]
  readonly waitingAdapters: readonly number[]
  readonly maxLora: number
  readonly blockSize: number
  readonly blockCount: number
  /** Weighted sum of the scores; absent: a filter dropped it. */
  total?: number
  /** By scorer, in their order, each 0 … 1. */
  scores?: readonly number[]
}

export interface ProfileRecord {
  /** Adapter id of the model; 0: a base model. */
  readonly adapter: number
  readonly promptBytes: number
  readonly prefixBytes: number
  readonly scorers: { readonly type: string; readonly weight: number }[]
  readonly candidates: readonly CandidateRecord[]
  /** In order of preference. */
  picked: readonly string[]
  reason: string
}

/** What of a profile the record reads. */
export interface ScoredProfile {
  readonly scorerCount: number
  scorer(index: number): { readonly type: string; readonly weight: number }
  /** Of the last `rank`. */
  score(scorer: number, candidate: number): number
}

export class PickRecord {
  /** One for each scheduling profile that ran. */
  readonly profiles: ProfileRecord[] = []

  /** A profile begins with these candidates. */
  begin(candidates: Candidates, table: EndpointTable): void {
    const records = Array.from({ length: candidates.count }, (_, i): CandidateRecord => recordOf(candidates, table, i))
    const { adapter, promptBytes, prefixBytes } = candidates
    this.profiles.push({
      adapter,
      promptBytes,
      prefixBytes,
      scorers: [],
      candidates: records,
      picked: [],
      reason: 'filtered',
    })
  }

  /** The candidates that its filters left are ranked. */
  ranked(profile: ScoredProfile, candidates: Candidates, table: EndpointTable, totals: Float64Array): void {
    const record = this.profiles.at(-1)!
    record.reason = 'saturated'
    for (let s = 0; s < profile.scorerCount; s++) record.scorers.push(profile.scorer(s))
    const byAddress = new Map(record.candidates.map(candidate => [candidate.address, candidate]))
    for (let i = 0; i < candidates.count; i++) {
      const candidate = byAddress.get(table.address(candidates.slots[i]!) ?? '')
      if (candidate === undefined) continue
      candidate.total = totals[i]!
      candidate.scores = record.scorers.map((_, s) => profile.score(s, i))
    }
  }

  picked({ slots, count, reason }: Placement, table: EndpointTable): void {
    const record = this.profiles.at(-1)!
    record.picked = Array.from(slots.subarray(0, count), slot => table.address(slot) ?? '')
    record.reason = reason
  }
}

function recordOf(candidates: Candidates, table: EndpointTable, i: number): CandidateRecord {
  const slot = candidates.slots[i]!
  const running = table.runningAdapters[slot]!
  const first = slot * ADAPTERS_PER_ENDPOINT
  const adapters = table.adapters.subarray(first, first + running + table.waitingAdapters[slot]!)
  return {
    address: table.address(slot) ?? '',
    labels: table.labels(slot) ?? {},
    waiting: candidates.waiting[i]!,
    running: candidates.running[i]!,
    unseen: candidates.unseen[i]!,
    inFlight: candidates.inFlight[i]!,
    kvUsage: candidates.kvUsage[i]!,
    prefix: candidates.prefix[i]!,
    unknown: candidates.unknown[i] !== 0,
    runningAdapters: [...adapters.subarray(0, running)],
    waitingAdapters: [...adapters.subarray(running)],
    maxLora: table.maxLora[slot]!,
    blockSize: table.blockSize[slot]!,
    blockCount: table.blockCount[slot]!,
  }
}
