import type { Log } from '../../telemetry/log.ts'
import { ErrorValve } from '../../threads/error-valve.ts'
import type { Threads } from '../../threads/threads.ts'
import { AdsServer } from '../../xds/ads-server.ts'
import type { SnapshotCache } from '../../xds/snapshot-cache.ts'
import { joinHostPort } from '../options.ts'
import type { ServeOptions } from './options.ts'
import { noteRequestEnd } from './request-ends.ts'

/** Lines about handshakes in so many ms. An Envoy tries again some times a second. */
const MOST_LINES = 5
const PERIOD_MS = 60_000
/** What OpenSSL says of a first record that is none. */
const PLAINTEXT: ReadonlySet<string> = new Set(['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_HTTP_REQUEST'])

/** The xDS server of our fleet, whose Envoys also send their access logs there. Not listening yet. */
export function xdsServer(
  { xdsTls, accessLogService }: ServeOptions,
  { host, port }: { readonly host: string; readonly port: number },
  parts: { readonly cache: SnapshotCache; readonly threads: Threads; readonly log: Log },
): AdsServer {
  const { cache, threads, log } = parts
  const valve = new ErrorValve(MOST_LINES, PERIOD_MS)
  return new AdsServer({
    cache,
    listen: { address: joinHostPort(host, port) },
    ...(xdsTls === undefined ? {} : { tls: xdsTls }),
    onTlsError: error => log.error({ err: error }, 'xDS: the certificate files cannot be used'),
    onFailedHandshake: ({ error, peer }) => {
      const keptBack = valve.pass(performance.now())
      if (keptBack === undefined) return
      const code = (error as NodeJS.ErrnoException).code ?? ''
      const hint = PLAINTEXT.has(code) ? { hint: 'it seems to speak plaintext, or not HTTP/2 over TLS' } : {}
      log.warn(
        { err: error, peer, ...hint, ...(keptBack > 0 ? { keptBack } : {}) },
        'xDS: a client failed to shake hands',
      )
    },
    onNack: ({ nodeId, typeUrl, message }) =>
      log.error({ node: nodeId, type: typeUrl, message }, 'Envoy refused a configuration'),
    onTooOld: ({ nodeId, userAgent, reason }) => log.error({ node: nodeId, userAgent, reason }, 'an Envoy is too old'),
    onAck: ({ nodeId, typeUrl, version }) =>
      log.debug({ node: nodeId, type: typeUrl, version }, 'Envoy took a configuration'),
    ...(accessLogService ? { onAccessLog: entry => noteRequestEnd(threads, entry) } : {}),
  })
}
