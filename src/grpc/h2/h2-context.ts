import type { StreamService } from '../transport.ts'
import type { H2Connection } from './h2-connection.ts'
import type { OwnSettings } from './settings.ts'

/** What the connections of one server share. */
export interface ConnectionContext {
  readonly services: ReadonlyMap<string, StreamService>
  readonly own: OwnSettings
  /** `own` as a SETTINGS frame. */
  readonly settings: Uint8Array
  /** How long a client may take for its preface (RFC 9113 §3.4), the SETTINGS in it included. */
  readonly prefaceMs: number
  /** Bytes that a peer may have under way on a connection. */
  readonly connectionWindow: number
  readonly maxStreamPendingBytes: number
  readonly maxConnectionPendingBytes: number
  handlerFailed(error: unknown, path: string): void
  /** The peer broke the protocol, or does not read. */
  connectionFailed(why: string): void
  connectionEnded(connection: H2Connection): void
}
