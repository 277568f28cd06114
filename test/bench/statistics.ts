/** Of an even count the upper one of the two in the middle: no figure that was not measured. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

/** Median of the ratios of the figures of the same round, which saw the same machine. */
export function medianRatio(over: readonly number[], under: readonly number[]): number {
  return median(over.slice(0, under.length).map((value, i) => value / under[i]!))
}
