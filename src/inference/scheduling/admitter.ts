import type { Candidates } from './candidates.ts'

/** May refuse a request once its candidates are known. Must not allocate. */
export interface Admitter {
  /** The name in configuration. */
  readonly type: string
  /** Asked about every request; absent: of negative priority only. */
  readonly asksAll?: true
  /** Before filters, after producers. */
  admits(candidates: Candidates, priority: number): boolean
}
