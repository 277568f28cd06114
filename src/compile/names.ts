import { createHash } from 'node:crypto'

/** Names that compiled resources share with the services behind them. */
export const EXT_PROC_FILTER = 'signalbox.ext_proc'
export const EXT_PROC_CLUSTER = 'signalbox_ext_proc'
export const ALS_CLUSTER = 'signalbox_als'
export const XDS_CLUSTER = 'signalbox_xds'
/** Namespace of our dynamic metadata; its keys (model, pool, endpoint, reason, target) are what access logs print. */
export const METADATA_NAMESPACE = 'signalbox'

/** Hexadecimal digits of a content hash: pure, the same on every machine. */
export function contentHash(content: unknown, digits = 12): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, digits)
}

/** Text that may stand in a header value, in gRPC metadata and in a place where Envoy expands `%…%`. */
export function headerSafe(text: string, maxLength: number): string {
  return text.replaceAll(/[^\x21-\x24\x26-\x7e]/g, '_').slice(0, maxLength)
}

export const poolCluster = (key: string): string => `pool/${key}`
export const backendCluster = (key: string): string => `backend/${key}`
export const serviceCluster = (key: string, port: number): string => `service/${key}/${port}`
