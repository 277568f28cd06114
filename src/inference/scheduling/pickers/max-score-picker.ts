import type { Random } from '../random.ts'

/** Sums of equal terms in equal order are equal; this only absorbs what different terms round to. */
const EPSILON = 1e-9

/**
 * Moves the indices of the best `wanted` of `scores[0, count)` to `out`, best first, and returns how many there are. Each of
 * several equal scores has the same chance, at every place of the list. The scores taken move to `taken`.
 */
export function pickMaxScores(
  scores: Float64Array,
  count: number,
  wanted: number,
  random: Random,
  out: Int32Array,
  taken: Float64Array,
): number {
  const length = Math.min(count, wanted, out.length)
  for (let place = 0; place < length; place++) {
    let best = -1
    let bestScore = Number.NEGATIVE_INFINITY
    let ties = 1
    for (let i = 0; i < count; i++) {
      const score = scores[i]!
      if (score > bestScore + EPSILON) {
        best = i
        bestScore = score
        ties = 1
      } else if (score >= bestScore - EPSILON && score !== Number.NEGATIVE_INFINITY) {
        ties++
        if (random.below(ties) === 0) best = i
      }
    }
    if (best < 0) return place
    out[place] = best
    taken[place] = scores[best]!
    scores[best] = Number.NEGATIVE_INFINITY
  }
  return length
}
