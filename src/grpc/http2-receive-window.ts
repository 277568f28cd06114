/**
 * How much a peer may send on one `node:http2` stream.
 *
 * node has two levers: while a stream is not "reading", its window is not replenished (the connection's always is, so a stalled
 * stream never blocks its neighbours); `_read()` gives back all that was withheld and switches reading on, the event `pause`
 * switches it off. Data is delivered in either state. So a peer can send the initial window, what was granted, and at most one
 * window more, because what was withheld is given back as a whole.
 */
import type { ServerHttp2Stream } from 'node:http2'

export class ReceiveWindow {
  private readonly http2: ServerHttp2Stream
  /** nghttp2 tells the peer when half a window was given back; earlier calls would only cost. */
  private readonly threshold: number
  private granted = 0
  private received = 0
  /** Bytes whose window went back to the peer. */
  private released = 0
  private reading = false
  /** A payload is being taken: node counts it only when we return, according to the state at that moment. */
  private taking = false

  constructor(http2: ServerHttp2Stream, initialWindow: number) {
    this.http2 = http2
    this.threshold = initialWindow >>> 1
  }

  grant(bytes: number): void {
    this.granted += bytes
    if (!this.taking) this.releaseIfGranted()
  }

  /** Before a payload is handed on. */
  begin(bytes: number): void {
    this.received += bytes
    this.taking = true
    if (this.reading && this.received >= this.granted) this.stop()
  }

  /** After it was. */
  done(): void {
    this.taking = false
    if (this.reading) this.released = this.received
    else this.releaseIfGranted()
  }

  /** `bytes` were read by `http2.read()`, which has switched reading on and given them back; `begin` counts them as received. */
  readEarly(bytes: number): void {
    this.released = bytes
    this.stop()
  }

  /** Withholds everything from now on. */
  stop(): void {
    this.reading = false
    if (!this.http2.destroyed) this.http2.emit('pause')
  }

  private releaseIfGranted(): void {
    if (this.granted <= this.released || this.received - this.released < this.threshold || this.http2.destroyed) return
    this.http2._read(0)
    // Stays on until the next payload, so that the one that is being taken counts too.
    this.reading = true
    this.released = this.received
  }
}
