/** One attempt at an upstream endpoint: the request goes in as a sink, the response comes back as events. */
import type { Endpoint } from './endpoint.ts'
import type { HeaderList } from './header-list.ts'
import type { MessageSink } from './message-sink.ts'
import type { AttemptFailure } from './retry.ts'

/** After `failed`, an end or trailers nothing follows. */
export interface UpstreamEvents extends MessageSink {
  /** Before or in the middle of the response. `details`: Envoy's name of the reason. */
  failed(failure: AttemptFailure, details: string): void
  drained(): void
}

export interface Upstream extends MessageSink {
  /** Bytes of the request that the connection hasn't taken. */
  readonly pendingBytes: number
  /** Bytes of the request may have left. */
  readonly requestSent: boolean
  read(open: boolean): void
  /** No events follow. */
  abort(): void
}

export interface UpstreamOptions {
  readonly endpoint: Endpoint
  readonly protocol: 'http1' | 'http2'
  readonly connectTimeoutMs: number
  readonly trailers: boolean
}

/** True when a response has no body whatever its headers say. */
export function isBodiless(method: string, headers: HeaderList): boolean {
  const status = headers.get(':status')
  return method === 'HEAD' || status === '204' || status === '304'
}
