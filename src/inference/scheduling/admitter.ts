import type { Candidates } from './candidates.ts'

/** May refuse a request of negative priority once its candidates are known. Must not allocate. */
export interface Admitter {
  /** The name in configuration. */
  readonly type: string
  /** Before filters, after producers. */
  admits(candidates: Candidates): boolean
}
