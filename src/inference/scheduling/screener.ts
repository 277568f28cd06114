import type { EndpointTable } from '../endpoint-table.ts'
import type { Candidates } from './candidates.ts'

/** Leaves out endpoints for the whole request, before any profile runs. Must not allocate but in `adopt`. */
export interface Screener {
  /** The name in configuration. */
  readonly type: string
  /** The endpoints have changed. */
  adopt(table: EndpointTable): void
  /** A request begins, with these candidates: what is chosen now holds for all its profiles. */
  begin(candidates: Candidates): void
  /** Sets `kept[i]` to 0 for candidates that are out; the others are 1 already. */
  screen(candidates: Candidates, kept: Uint8Array): void
}
