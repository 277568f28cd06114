/** A replica is taken to differ from its pool by so much at the most, in the logarithm. */
const WIDEST = Math.log(16)

/**
 * How far a replica is taken to differ from its pool where it was measured to differ by `measured`, both in the logarithm: replicas of one
 * kind must not look unlike by chance, or the luckiest gets all. Less than `noise` is none; from `real` on it counts in full.
 */
export function trustedDeviation(measured: number, noise: number, real: number): number {
  const size = Math.abs(measured)
  const trust = Math.min(1, Math.max(0, (size - noise) / (real - noise)))
  return Math.sign(measured) * Math.min(WIDEST, size) * trust
}
