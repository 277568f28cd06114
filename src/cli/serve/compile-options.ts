import type { CompileOptions } from '../../compile/compile.ts'
import type { Threads } from '../../threads/threads.ts'
import type { ServeOptions } from './options.ts'
import { reachableAt } from './own-addresses.ts'

type Upstream = CompileOptions['extProc']

/** What was found out while we started. */
interface Started {
  readonly threads: Threads
  readonly xdsPort: number
  /** How Envoys verify ext_proc, and the access log service; undefined: plaintext. */
  readonly tls: Upstream['tls']
  readonly logsTls: Upstream['tls']
}

/** What configurations are compiled for: these options, on the addresses where we listen. */
export function compileOptions(options: ServeOptions, { threads, xdsPort, tls, logsTls }: Started): CompileOptions {
  const { xds, records, pool, picker } = options
  return {
    extProc: { ...extProcUpstream(options, threads), ...(tls === undefined ? {} : { tls }) },
    ...(xds !== undefined && options.accessLogService
      ? {
          accessLogService: {
            addresses: [reachableAt(options, xds.host, xdsPort)],
            ...(logsTls === undefined ? {} : { tls: logsTls }),
          },
        }
      : {}),
    ...(records.explainKeyFile === undefined ? {} : { logDecisions: true }),
    ...(pool === undefined ? {} : { defaultPool: pool }),
    ...(picker === undefined ? {} : { ...picker.compile, gatewayPools: picker.pools }),
  }
}

function extProcUpstream(options: ServeOptions, { threads }: Threads): Upstream {
  const { extProc } = options
  const own = threads.map(({ listening }) => (listening!.own ?? listening!.shared)!)
  return 'path' in extProc
    ? { pipes: own.map(({ address }) => address.slice('unix:'.length)) }
    : { addresses: own.map(({ port }) => reachableAt(options, extProc.host, port)) }
}
