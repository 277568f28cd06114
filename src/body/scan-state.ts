/** What a scanner of this folder says about the body read so far. */
export const ScanState = {
  /** Good so far, not complete. */
  MORE: 0,
  /** Complete. */
  DONE: 1,
  /** Wrong; the scanner's `error` says why. Final. */
  INVALID: 2,
} as const
export type ScanState = (typeof ScanState)[keyof typeof ScanState]
