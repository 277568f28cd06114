import type { SoakReport } from './run-soak.ts'

const MAX_GROWTH_BYTES = 20 * 1024 * 1024

/** The bounds of issue 3 that a run did not keep to; empty = all well. */
export function broken(report: SoakReport): string[] {
  const growth = report.peakBytes - report.warmBytes
  const left = (['inFlight', 'openExchanges', 'openStreams', 'heldBytes'] as const).filter(name => report[name] !== 0)
  return [
    ...(growth < MAX_GROWTH_BYTES ? [] : [`memory grew by ${growth} bytes after the first round`]),
    ...Object.entries(report.failures).map(([what, count]) => `${count} × ${what}`),
    ...left.map(name => `${name} is ${report[name]} at the end`),
  ]
}
