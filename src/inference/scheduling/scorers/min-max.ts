/**
 * `(max − v) / (max − min)` in place over `values[0, count)`: 1 for the least, 0 for the greatest, 1 for all when all are equal.
 * The peers' scorers of queue and running requests use this formula (epp.md §3.3).
 */
export function scoreLeast(values: Float64Array, count: number): void {
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < count; i++) {
    const value = values[i]!
    if (value < min) min = value
    if (value > max) max = value
  }
  const range = max - min
  for (let i = 0; i < count; i++) values[i] = range === 0 ? 1 : (max - values[i]!) / range
}
