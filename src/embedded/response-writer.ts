/** The end of the response path: response headers that routes add, back-pressure, and the numbers of the access log. */
import type { Downstream } from './downstream.ts'
import { applyHeaderEdits, type HeaderEdits } from './header-edits.ts'
import { type HeaderList, removeHopByHop } from './header-list.ts'
import { type Flow, HoldReason, type MessageSink } from './message-sink.ts'

export interface ResponseWriterHost {
  /** Most specific last. */
  responseEdits(): readonly HeaderEdits[]
  format(value: string): string
  /** Set on every response. */
  addedHeaders(): readonly (readonly [string, string])[]
  /** The response is complete. */
  responded(): void
}

export class ResponseWriter implements MessageSink {
  headersSent: HeaderList | undefined
  trailersSent: HeaderList | undefined
  bytes = 0
  ended = false
  readonly #downstream: Downstream
  readonly #host: ResponseWriterHost
  readonly #flow: Flow
  readonly #method: string
  readonly #limit: number

  /** `limit`: bytes that may wait for the client before the upstream is paused. */
  constructor(downstream: Downstream, host: ResponseWriterHost, flow: Flow, method: string, limit: number) {
    this.#downstream = downstream
    this.#host = host
    this.#flow = flow
    this.#method = method
    this.#limit = limit
  }

  headers(headers: HeaderList, end: boolean): void {
    if (this.ended || this.headersSent !== undefined) return
    for (const edits of this.#host.responseEdits().toReversed())
      applyHeaderEdits(headers, edits, value => this.#host.format(value))
    removeHopByHop(headers)
    for (const [name, value] of this.#host.addedHeaders()) headers.set(name, value)
    if (!headers.has('date')) headers.add('date', new Date().toUTCString())
    this.headersSent = headers
    this.ended = end
    this.#downstream.headers(headers, end)
    if (end) this.#host.responded()
  }

  data(bytes: Uint8Array, end: boolean): void {
    if (this.ended || this.headersSent === undefined) return
    // A local reply to HEAD says how long its body would be, and has none.
    const body = this.#method === 'HEAD' ? EMPTY : bytes
    this.bytes += body.length
    this.ended = end
    this.#downstream.data(body, end)
    if (end) this.#host.responded()
    else if (this.#downstream.pendingBytes > this.#limit) this.#flow.hold(HoldReason.PEER)
  }

  trailers(trailers: HeaderList): void {
    if (this.ended || this.headersSent === undefined) return
    this.ended = true
    this.trailersSent = trailers
    this.#downstream.trailers(trailers)
    this.#host.responded()
  }

  drained(): void {
    this.#flow.release(HoldReason.PEER)
  }
}

const EMPTY = new Uint8Array()
