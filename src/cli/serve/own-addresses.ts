/** Where we listen, and what others call that: ports and sockets of threads, and how Envoys reach us. */
import { Buffer } from 'node:buffer'
import { UsageError } from '../command.ts'
import { joinHostPort } from '../options.ts'
import { isFleet } from './is-fleet.ts'
import type { ServeOptions } from './options.ts'

/** Of a Unix socket. */
export const MAX_PATH_BYTES = 107

/** Threads' own ports follow the base, and sockets' names get longer. @throws UsageError */
export function refusePorts(options: ServeOptions): void {
  const { extProc, threads } = options
  if ('path' in extProc) {
    if (threads > 1 && Buffer.byteLength(`${extProc.path}.${threads - 1}`) > MAX_PATH_BYTES)
      throw new UsageError(`--ext-proc: with the ending .${threads - 1} the path has more than ${MAX_PATH_BYTES} bytes`)
  } else if (threads > 1 && extProc.port !== 0 && isFleet(options) && extProc.port + threads > 65_535) {
    throw new UsageError(`--ext-proc: no ports for ${threads} threads above ${extProc.port}`)
  } else if (threads > 1 && extProc.port !== 0 && isFleet(options)) {
    for (const [option, listen] of [
      ['--xds', options.xds],
      ['--admin', options.admin],
    ] as const) {
      const thread = listen === undefined ? -1 : listen.port - extProc.port - 1
      if (thread < 0 || thread >= threads || !meet(extProc.host, listen!.host)) continue
      throw new UsageError(`${option}: port ${listen!.port} is that of thread ${thread + 1} (--ext-proc, --threads)`)
    }
  }
}

/** Says of a port in use that it is a thread's own, which nobody has named. */
export function withThread(why: string, { extProc, threads }: Pick<ServeOptions, 'extProc' | 'threads'>): string {
  const port = Number(/:(\d+) is in use$/.exec(why)?.[1])
  if ('path' in extProc || extProc.port === 0 || threads === 1) return why
  const thread = port - extProc.port
  return thread >= 1 && thread <= threads ? `${why}: thread ${thread} has this port of its own (see --threads)` : why
}

function meet(one: string, other: string): boolean {
  return one === other || isWildcard(one) || isWildcard(other)
}

/** How an Envoy reaches a service that listens on `host`. An address that means "all" has to be replaced. */
export function reachableAt(options: ServeOptions, host: string, port: number): string {
  return joinHostPort(options.advertise ?? (isWildcard(host) ? '127.0.0.1' : host), port)
}

export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}
