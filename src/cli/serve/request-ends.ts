import { ALS_FLUSH_MS } from '../../compile/envoy/access-log.ts'
import { loadReportOf } from '../../inference/load-report.ts'
import type { Threads } from '../../threads/threads.ts'
import type { AccessLogEntry } from '../../xds/access-log-reader.ts'

/**
 * What our own data planes tell of requests that are over: where they were picked for is freed, and where they were served is noted, and how
 * loaded the replica was.
 */
export function noteRequestEnd(threads: Threads, entry: AccessLogEntry): void {
  const { endpoint, pool, upstream, durationMs } = entry
  if (endpoint === undefined || pool === undefined) return
  const keeper = threads.keeper.pools.get(pool)
  // By our clock: Envoy's may differ.
  keeper?.releaseAddress(endpoint, durationMs === undefined ? undefined : Date.now() - durationMs)
  if (upstream === undefined) return
  const report = loadReportOf(entry.report, entry.binaryReport)
  if (report !== undefined && keeper !== undefined)
    // How long the entry was kept is not said: as long as can be, so that no scrape that knows more gives way to it.
    keeper.noteLoad(upstream, report, Date.now() - (entry.reportAgeMs ?? 0) - ALS_FLUSH_MS)
  keeper?.noteServed(endpoint, upstream, Date.now())
  if (upstream !== endpoint) threads.outcomes.fellBack++
}
