import type { Log } from '../../telemetry/log.ts'
import type { Threads } from '../../threads/threads.ts'
import { AdsServer } from '../../xds/ads-server.ts'
import type { SnapshotCache } from '../../xds/snapshot-cache.ts'
import { joinHostPort } from '../options.ts'
import type { ServeOptions } from './options.ts'
import { noteRequestEnd } from './request-ends.ts'

/** The xDS server of our fleet, whose Envoys also send their access logs there. Not listening yet. */
export function xdsServer(
  { xdsTls, accessLogService }: ServeOptions,
  { host, port }: { readonly host: string; readonly port: number },
  parts: { readonly cache: SnapshotCache; readonly threads: Threads; readonly log: Log },
): AdsServer {
  const { cache, threads, log } = parts
  return new AdsServer({
    cache,
    listen: { address: joinHostPort(host, port) },
    ...(xdsTls === undefined ? {} : { tls: xdsTls }),
    onTlsError: error => log.error({ err: error }, 'xDS: the certificate files cannot be used'),
    onNack: ({ nodeId, typeUrl, message }) =>
      log.error({ node: nodeId, type: typeUrl, message }, 'Envoy refused a configuration'),
    onTooOld: ({ nodeId, userAgent, reason }) => log.error({ node: nodeId, userAgent, reason }, 'an Envoy is too old'),
    onAck: ({ nodeId, typeUrl, version }) =>
      log.debug({ node: nodeId, type: typeUrl, version }, 'Envoy took a configuration'),
    ...(accessLogService ? { onAccessLog: entry => noteRequestEnd(threads, entry) } : {}),
  })
}
