import type { Random } from '../random.ts'
import { pickMaxScores } from './max-score-picker.ts'

/**
 * Chances in proportion to the scores: the A-Res sampling of Efraimidis and Spirakis, key = U^(1/score). A candidate without a score comes
 * after all others; if none has one, all have the same chance (a `Picker`).
 */
export function pickWeightedRandom(
  scores: Float64Array,
  count: number,
  wanted: number,
  random: Random,
  out: Int32Array,
  taken: Float64Array,
): number {
  // log(U) / score orders like the key and does not vanish for small scores. −1e300: behind every log(U) / score.
  for (let i = 0; i < count; i++) scores[i] = scores[i]! > 0 ? Math.log(random.unit()) / scores[i]! : -1e300
  return pickMaxScores(scores, count, wanted, random, out, taken)
}
