/** Revocations of one decision, at the most: what a request takes up is only estimated. */
export const MAX_REVOCATIONS = 2

/** Nobody is called back for the last digit of a sum. */
const ROUNDING = 1e-9

export interface Reclaim {
  readonly saturation: number
  /** Of the band that waits: the pool must fall below it. */
  readonly ceiling: number
  /** Saturation that earlier revocations will have taken away. */
  readonly pending: number
  /** Requests that the pool has, and those of them that may be revoked. */
  readonly inFlight: number
  readonly evictable: number
}

/**
 * How many requests are called back so that the pool falls below a ceiling: each of those in flight counts for its share of the
 * saturation (epp.md §3.10). At the ceiling itself it is one.
 */
export function reclaimSize({ saturation, ceiling, pending, inFlight, evictable }: Reclaim): number {
  const net = saturation - ceiling - pending
  if (evictable === 0 || (pending > 0 && net <= ROUNDING)) return 0
  const credit = creditOf(saturation, inFlight)
  const wanted = net <= 0 || credit <= 0 ? 1 : Math.ceil(net / credit - ROUNDING)
  return Math.min(Math.max(wanted, 1), MAX_REVOCATIONS, evictable)
}

/** What one request in flight counts for. */
export function creditOf(saturation: number, inFlight: number): number {
  return inFlight > 0 ? saturation / inFlight : 0
}
