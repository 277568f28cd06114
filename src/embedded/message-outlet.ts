import type { HeaderList } from './header-list.ts'
import type { MessageSink } from './message-sink.ts'

/** Gives a message on exactly once and in order: nothing twice, nothing behind the end, no empty data. */
export class MessageOutlet implements MessageSink {
  begun = false
  ended = false
  readonly #next: MessageSink

  constructor(next: MessageSink) {
    this.#next = next
  }

  headers(headers: HeaderList, end: boolean): void {
    if (this.begun) return
    this.begun = true
    this.ended = end
    this.#next.headers(headers, end)
  }

  data(bytes: Uint8Array, end: boolean): void {
    if (this.ended || (bytes.length === 0 && !end)) return
    this.ended = end
    this.#next.data(bytes, end)
  }

  trailers(trailers: HeaderList): void {
    if (this.ended) return
    this.ended = true
    this.#next.trailers(trailers)
  }
}
