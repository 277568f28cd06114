/** A client's stream, whatever the protocol: the response goes in as a sink, the request comes back as events. */
import type { Flow, MessageSink } from './message-sink.ts'
import type { HeaderList } from './header-list.ts'

export interface Downstream extends MessageSink {
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2'
  /** `ip:port` */
  readonly remoteAddress: string
  readonly localAddress: string
  readonly secure: boolean
  /** The tap of the request. */
  readonly flow: Flow
  /** Bytes of the response that the connection hasn't taken. */
  readonly pendingBytes: number
  /** Cuts the response off so that the client notices. */
  reset(): void
}

/** What a client's stream tells; after `aborted` nothing follows. */
export interface DownstreamEvents {
  data(bytes: Uint8Array, end: boolean): void
  trailers(trailers: HeaderList): void
  /** The client went away before the response was complete. */
  aborted(): void
  drained(): void
}

/** Called with the request's headers, pseudo headers included. */
export type RequestHandler = (downstream: Downstream, headers: HeaderList, end: boolean) => DownstreamEvents

export interface CodecOptions {
  /** HTTP/1.1 trailers pass in both directions. */
  readonly http1Trailers: boolean
  readonly streamWindow: number
  readonly connectionWindow: number
  readonly maxConcurrentStreams: number
  readonly maxHeaderBytes: number
  readonly idleTimeoutMs: number
  /** Once `now` is true, HTTP/1.1 responses close their connection. */
  readonly drain: { now: boolean }
}

export interface ListenerAddress {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
}
