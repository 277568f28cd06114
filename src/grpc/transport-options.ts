/** What a listener of either implementation of the transport seam is told. */
import type { TlsOptions } from './tls.ts'
import type { StreamService } from './transport.ts'

type ListenAddress =
  | { readonly host: string; readonly port: number; readonly reusePort?: boolean }
  /** A Unix domain socket. A stale file is replaced, ours is removed at the end. */
  | { readonly path: string }

/** Where an error arose: in a service, on a client's connection, or in a new certificate that could not be used. */
export type TransportErrorSource = 'handler' | 'connection' | 'certificate'

export interface TransportOptions {
  readonly services: readonly StreamService[]
  readonly listen: ListenAddress
  /** Absent: plaintext with prior knowledge. */
  readonly tls?: TlsOptions
  /** Told of errors that end no process; for logs. `detail`: the method's path, or the listener's address. */
  readonly onError?: (error: unknown, source: TransportErrorSource, detail: string) => void

  /** Streams of one connection at a time. Default 4096; Envoy opens few connections, and a low figure costs cold ones (HTTP 500). */
  readonly maxConcurrentStreams?: number
  /** Connections at a time; more get GOAWAY(ENHANCE_YOUR_CALM). Over TLS those count that shake hands, and of 64 too many on they are closed at once. Default 10,000. */
  readonly maxConnections?: number
  /** Bytes that a peer may send on a stream before it is granted more. Default 65,535, HTTP/2's own, so it holds from the first byte. */
  readonly initialWindow?: number
  /** Bytes that a peer may have under way on a connection. Default 16 MiB. */
  readonly connectionWindow?: number
  /** Request headers of a stream, bytes as HTTP/2 counts them. Default 64 KiB. */
  readonly maxHeaderListBytes?: number
  /** Bytes that a slow reader may leave pending on a stream before it is reset (ENHANCE_YOUR_CALM). Default 32 MiB: a held 20 MB body echoed at once must fit. */
  readonly maxStreamPendingBytes?: number
  /** The same over all streams of a connection: the stream that crosses it is reset. Default 128 MiB. */
  readonly maxConnectionPendingBytes?: number

  /** Age at which a connection is retired. Default: never; over TLS see the limits above. */
  readonly maxConnectionAgeMs?: number
  /** Share of the age by which it varies, up and down, so that connections do not all come back at once. Default 0.1. */
  readonly maxConnectionAgeJitter?: number
  /** What a retired connection's streams may take to finish. Default 10 minutes. */
  readonly maxConnectionAgeGraceMs?: number
  /** A connection without streams for so long is retired. Default: never. */
  readonly maxConnectionIdleMs?: number
  /** Interval of pings; a peer that leaves one unanswered until the next is taken for dead. 0 = none. Default 20 s. */
  readonly keepaliveMs?: number
}
