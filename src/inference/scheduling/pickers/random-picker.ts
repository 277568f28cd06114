import type { Random } from '../random.ts'

/** Each candidate has the same chance at each place, whatever its score (a `Picker`). */
export function pickRandom(
  scores: Float64Array,
  count: number,
  wanted: number,
  random: Random,
  out: Int32Array,
  taken: Float64Array,
): number {
  const length = Math.min(count, wanted, out.length)
  for (let place = 0; place < length; place++) {
    let at = random.below(count - place)
    // The at-th of those not taken yet.
    let choice = 0
    for (; ; choice++) {
      if (Number.isNaN(scores[choice]!)) continue
      if (at-- === 0) break
    }
    out[place] = choice
    taken[place] = scores[choice]!
    scores[choice] = Number.NaN
  }
  return length
}
