/**
 * Where we tie into a `node:http2` stream: shared functions and one symbol, no closure per stream.
 *
 * Reading goes around node's Readable: the stream's own `push`, which node's native side calls with every DATA payload, is
 * replaced by ours. So payloads come at once, whether the peer may send more or not, and nothing is buffered on the way.
 */
import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import { Duplex, Readable } from 'node:stream'

export interface Http2Events {
  /** A DATA payload. */
  take(chunk: Uint8Array): void
  /** END_STREAM, once. */
  peerFinished(): void
  /** Everything was sent; now is the time for trailers. */
  sendTrailers(): void
  /** node begins to tear the stream down. May come more than once. */
  ending(): void
  /** node is done with the stream. */
  over(): void
}

const EVENTS = Symbol('signalbox.events')
type HookedStream = ServerHttp2Stream & {
  [EVENTS]: Http2Events
  /** Nothing public says that the end was pushed while it has not been read. */
  readonly _readableState: { readonly ended: boolean }
}

export function hook(http2: ServerHttp2Stream, events: Http2Events): void {
  const hooked = http2 as HookedStream
  hooked[EVENTS] = events
  hooked.push = takeChunk
  hooked.destroy = destroyCheaply
  hooked.on('wantTrailers', sendTrailers)
  hooked.on('close', streamClosed)
  hooked.on('error', ignoreError)
}

/** True when END_STREAM had come before `hook`, which then reports none. */
export function endedEarly(http2: ServerHttp2Stream): boolean {
  return (http2 as HookedStream)._readableState.ended
}

/** A reset is reported by `close`, which follows; without a listener the process would end. */
export function ignoreError(): void {}

function takeChunk(this: HookedStream, chunk: Uint8Array | null): boolean {
  if (chunk !== null) {
    this[EVENTS].take(chunk)
    // False would make node stop reading, which is the receive window's to decide.
    return true
  }
  // node also pushes the end when it tears a stream down; only an END_STREAM comes while it is open.
  if (!this.closed && !this.destroyed) this[EVENTS].peerFinished()
  return Readable.prototype.push.call(this, null)
}

/**
 * For a reset, node makes an error with a stack trace: 25 µs for the way in which Envoy ends nearly every stream, and nobody reads
 * it. Giving it one that exists already keeps everything else as it is.
 */
const RESET_BY_PEER = new Error('the stream was reset')

function destroyCheaply(this: HookedStream, error?: Error): HookedStream {
  this[EVENTS].ending()
  const reason = error ?? (this.rstCode === constants.NGHTTP2_NO_ERROR ? undefined : RESET_BY_PEER)
  return Duplex.prototype.destroy.call(this, reason) as HookedStream
}

function sendTrailers(this: HookedStream): void {
  this[EVENTS].sendTrailers()
}

function streamClosed(this: HookedStream): void {
  this[EVENTS].over()
}
