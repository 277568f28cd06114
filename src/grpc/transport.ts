/**
 * The transport seam: what a gRPC service of the data path and an HTTP/2 implementation know of each other.
 *
 * Verbs upwards (`StreamHandler`) are called by the transport, verbs downwards (`ServerStream`) by the service. Nothing here
 * knows a protobuf type. Implementations: `h2/h2-transport.ts` (our own HTTP/2) and `http2-transport.ts` (`node:http2`).
 */

/** gRPC status codes (https://grpc.io/docs/guides/status-codes/). */
export const GrpcStatus = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
} as const
export type GrpcStatus = (typeof GrpcStatus)[keyof typeof GrpcStatus]

/** Why a stream is over, as the transport saw it. */
export const StreamEnd = {
  /** The client finished sending (END_STREAM). The service still owes an `end`. */
  HALF_CLOSED: 0,
  /** The client reset the stream; nothing can be sent any more. Envoy ends nearly every stream like this. */
  RESET: 1,
  /** The connection died. */
  LOST: 2,
} as const
export type StreamEnd = (typeof StreamEnd)[keyof typeof StreamEnd]

/** What the service may do with one stream. No call throws; calls after the end are ignored. */
export interface ServerStream {
  /**
   * Sends one or more whole length-prefixed messages (or consecutive pieces of them). Ownership of `bytes` passes to the
   * transport: the caller must not write to them again. Everything sent during one upward call leaves in one write.
   */
  send(bytes: Uint8Array): void
  /** As `send`, of `bytes[start, end)`: no view is made. Not every transport has it. */
  sendPart?(bytes: Uint8Array, start: number, end: number): void
  /** Ends the stream with trailers (or trailers only). Bytes sent before are delivered first. */
  end(status: GrpcStatus, message?: string): void
  /** Lets the peer send `bytes` more than the initial window (64 KiB). A stream that is never granted more stalls its peer. */
  grant(bytes: number): void
  /** Bytes accepted by `send` and not yet taken by the socket. */
  readonly pendingBytes: number
}

/** One stream as the service sees it. Called on one thread, never re-entrantly for the same stream. */
export interface StreamHandler {
  /**
   * A part of the current message. `remaining` = bytes of this message still to come; 0 completes it (an empty message is
   * one call with an empty part and `remaining` 0). `part` is valid only during the call unless the transport says
   * `retainsParts`; to `send` it, or pieces of it, during the call is fine in either case.
   */
  data(part: Uint8Array, remaining: number): void
  /**
   * Where it is there, a transport may call it instead of `data` for a message that lies in one piece, `bytes[start, end)`: no view is made
   * then. As with `data`, the bytes are valid only during the call unless the transport says `retainsParts`.
   */
  message?(bytes: Buffer, start: number, end: number): void
  /** After HALF_CLOSED another call with RESET or LOST may follow; after those two nothing follows. */
  closed(how: StreamEnd): void
  /** After `end` with OK, at most once: the peer ended its side too, where others reset a stream that has ended. Not every transport tells. */
  peerEnded?(): void
  /** The socket took everything that was pending. Only told when more than 16 KiB were: less is no reason to wait. */
  drained?(): void
}

/**
 * Request headers of the stream; repeated names are joined as HTTP/2 allows. Names are lower case. `grpc-timeout` is the transport's, and may
 * not be among them.
 */
export type StreamHeaders = Readonly<Record<string, string | string[] | undefined>>

/** A method of the data path. */
export interface StreamService {
  /** `/package.Service/Method` */
  readonly path: string
  /** Upper bound of one message, bytes; a longer one ends the stream with RESOURCE_EXHAUSTED. */
  readonly maxMessageBytes: number
  open(stream: ServerStream, headers: StreamHeaders): StreamHandler
}

/** A listening server of either implementation. */
export interface TransportServer {
  /** Where it listens, as bound: `host:port` or `unix:/path`. */
  readonly address: string
  readonly port: number
  /** False: parts are only valid during `data`, so that the service must copy what it keeps. */
  readonly retainsParts: boolean
  /** Open streams over all connections. */
  readonly streams: number
  /** Open connections. */
  readonly connections: number
  /**
   * Asks one of several clients to connect anew, elsewhere perhaps: its connection gets a GOAWAY and ends with its open streams. It is the
   * median by load, so that what is moved matters and the rest stays. False: there were less than two to choose from.
   */
  shed(): boolean
  /**
   * Stops accepting, sends GOAWAY, lets open streams finish for up to `graceMs`, then ends the rest with UNAVAILABLE
   * (never OK: an OK close would let an undecided request pass a fail-closed filter).
   */
  drain(graceMs: number): Promise<void>
  /** Closes at once. */
  close(): Promise<void>
}
