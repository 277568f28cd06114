import type { Threads } from '../../threads/threads.ts'
import type { AccessLogEntry } from '../../xds/access-log-service.ts'

/** What our own data planes tell of requests that are over: where they were picked for is freed, and where they were served is noted. */
export function noteRequestEnd(threads: Threads, { endpoint, pool, upstream, durationMs }: AccessLogEntry): void {
  if (endpoint === undefined || pool === undefined) return
  const keeper = threads.keeper.pools.get(pool)
  // By our clock: Envoy's may differ.
  keeper?.releaseAddress(endpoint, durationMs === undefined ? undefined : Date.now() - durationMs)
  if (upstream === undefined) return
  keeper?.noteServed(endpoint, upstream, Date.now())
  if (upstream !== endpoint) threads.outcomes.fellBack++
}
