import type { Random } from './random.ts'

/**
 * Moves the indices of `wanted` candidates to `out`, the preferred one first, and returns how many there are. `scores[0, count)` are their
 * totals, which it may change; those of the chosen move to `taken`. Must not allocate.
 */
export type Picker = (
  scores: Float64Array,
  count: number,
  wanted: number,
  random: Random,
  out: Int32Array,
  taken: Float64Array,
) => number
