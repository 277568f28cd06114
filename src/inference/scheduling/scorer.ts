import type { EndpointTable } from '../endpoint-table.ts'
import type { Candidates } from './candidates.ts'

/** A term of the weighted sum that ranks the candidates of a pick. One object per profile; must not allocate. */
export interface Scorer {
  /** The name in configuration. */
  readonly type: string
  /** Sets `out[i]` to a value in 0 … 1, 1 being best, for each candidate `i < candidates.count`. */
  score(candidates: Candidates, table: EndpointTable, out: Float64Array): void
}
