import type { EndpointTable } from '../endpoint-table.ts'
import type { Candidates } from './candidates.ts'
import type { Rememberer } from './plugin-memory.ts'

/** Says which candidates of a pick stay. One object per profile; must not allocate. */
export interface Filter extends Rememberer {
  /** The name in configuration. */
  readonly type: string
  /** Sets `kept[i]` to 1 for each candidate `i < candidates.count` that stays, else to 0. */
  filter(candidates: Candidates, table: EndpointTable, kept: Uint8Array): void
  /** The table has other endpoints now. */
  adopt?(table: EndpointTable): void
  chosen?(candidates: Candidates, table: EndpointTable, choice: number): void
}
