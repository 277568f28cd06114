import type { ReleaseBy } from '../../inference/endpoint-table.ts'
import type { WorkerOptions } from '../../threads/messages.ts'
import type { ServeOptions } from './options.ts'
import { recordOptions } from './record-options.ts'
import { extProcTls } from './upstream-tls.ts'

/** What the threads of the data path need to know of the options. Reads the key of explanations. @throws UsageError */
export function workerOptions(options: ServeOptions): WorkerOptions {
  const { transport, trust, maxHeldBytes, modeOverride, maxConnectionAgeMs, plugins, measuring, picker } = options
  const { maxStreams, maxConnections } = options
  return {
    transport,
    trust,
    tls: extProcTls(options),
    maxHeldBytes,
    modeOverride,
    maxConnectionAgeMs,
    maxConcurrentStreams: maxStreams,
    maxConnections,
    releaseBy: releaseMode(options),
    plugins,
    records: recordOptions(options),
    measuring: measuring.threads,
    maxMessageBytes: picker?.maxMessageBytes,
  }
}

/**
 * Who tells that a request is over: the access log of our own fleet; without a fleet the response, which we follow then. The embedded
 * data plane without xDS tells this process as an access log does.
 */
function releaseMode({ xds, accessLogService, embedded }: ServeOptions): ReleaseBy {
  if (xds === undefined) return embedded ? 'access-log' : 'response'
  return accessLogService ? 'access-log' : 'scrape'
}
