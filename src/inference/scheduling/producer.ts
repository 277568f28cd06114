import type { EndpointTable } from '../endpoint-table.ts'
import type { Candidates } from './candidates.ts'
import type { Rememberer } from './plugin-memory.ts'

/** Fills in what plug-ins look at besides loads, before filters run. One object per pool and thread; must not allocate. */
export interface Producer extends Rememberer {
  /** The name in configuration. */
  readonly type: string
  produce(candidates: Candidates, table: EndpointTable): void
  /** The table has other endpoints now. */
  adopt?(table: EndpointTable): void
  /** Candidate `choice` gets the request; called before the table counts it. */
  chosen?(candidates: Candidates, table: EndpointTable, choice: number): void
}
