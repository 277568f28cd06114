/** What a metric is: the same for the threads that count it and for the page that shows it. */
export interface SeriesFamily {
  /** Without a prefix. */
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
  /** Upper ends, of a histogram. */
  readonly buckets?: readonly number[]
}

/** 64-bit cells of a series: a number; of a histogram a count for each bucket, one for all beyond, and the sum. */
export function cellsOf({ buckets }: SeriesFamily): number {
  return buckets === undefined ? 1 : buckets.length + 2
}
