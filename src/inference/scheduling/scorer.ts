import type { EndpointTable } from '../endpoint-table.ts'
import type { Candidates } from './candidates.ts'
import type { Rememberer } from './plugin-memory.ts'

/** A term of the weighted sum that ranks the candidates of a pick. One object per profile; must not allocate. */
export interface Scorer extends Rememberer {
  /** The name in configuration. */
  readonly type: string
  /** Sets `out[i]` to a value in 0 … 1, 1 being best, for each candidate `i < candidates.count`. */
  score(candidates: Candidates, table: EndpointTable, out: Float64Array): void
  /** What of it spoke for this candidate of the last `score`, as the reason of a pick; one of few texts. Absent: its name says it. */
  why?(candidate: number): string
  /** The table has other endpoints now. */
  adopt?(table: EndpointTable): void
  /** Main thread: another replica of Signalbox has sent a prompt there, of which the endpoint has to prefill so many bytes. */
  sentElsewhere?(table: EndpointTable, slot: number, uncachedBytes: number, nowMs: number): void
  /** Candidate `choice` of the last `score` gets the request; called before the table counts it. */
  chosen?(candidates: Candidates, table: EndpointTable, choice: number): void
}
