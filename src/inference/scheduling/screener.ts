import type { EndpointTable } from '../endpoint-table.ts'
import type { Candidates } from './candidates.ts'
import type { Rememberer } from './plugin-memory.ts'

/** Leaves out endpoints for the whole request, before any profile runs. Must not allocate but in `adopt` and `figures`. */
export interface Screener extends Rememberer {
  /** The endpoints have changed. */
  adopt(table: EndpointTable): void
  /**
   * A request begins, with these candidates: what is chosen now holds for all its profiles. `ahead`: only to see where it might go; it will
   * begin again, then with `Candidates.burst`.
   */
  begin(candidates: Candidates, ahead: boolean): void
  /** Sets `kept[i]` to 0 for candidates that are out; the others are 1 already. */
  screen(candidates: Candidates, kept: Uint8Array): void
  /** After `adopt`, for metrics. Default: there is nothing to tell. */
  figures?(): RolloutFigures
}

export interface RolloutFigures {
  /** How revisions are weighed; `disabled`: they aren't. */
  readonly mode: string
  /** Revision → share of the requests that name none, 0 … 1; 0 = it is not complete. */
  readonly shares: ReadonlyMap<string, number>
  /** Strict selector → requests of all threads that no endpoint was left for by its header. */
  readonly noMatch: ReadonlyMap<string, number>
}
