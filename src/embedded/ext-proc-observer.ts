/** `observability_mode`: the processor is told everything and asked nothing; what it answers is ignored. */
import type { FilterHost } from './filter-host.ts'
import type { ProcessCall } from './ext-proc-client.ts'
import { MessageBuilder, type ProcessingMessage } from './ext-proc-message.ts'
import { BodyMode, type DirectionModes, type ExtProcSettings } from './ext-proc-settings.ts'
import type { HeaderList } from './header-list.ts'
import type { MessageSink } from './message-sink.ts'

export class ExtProcObserver {
  readonly request: MessageSink
  readonly response: MessageSink
  readonly #settings: ExtProcSettings
  readonly #host: FilterHost
  readonly #messages: MessageBuilder
  #call: ProcessCall | undefined
  #failed = false

  constructor(settings: ExtProcSettings, host: FilterHost, request: MessageSink, response: MessageSink) {
    this.#settings = settings
    this.#host = host
    this.#messages = new MessageBuilder(settings, host)
    this.request = this.#observed('request', settings.modes.request, request)
    this.response = this.#observed('response', settings.modes.response, response)
  }

  #observed(kind: 'request' | 'response', modes: DirectionModes, next: MessageSink): MessageSink {
    return {
      headers: (headers, end) => {
        if (modes.headers) this.#send(this.#messages.headers(kind, headers, end))
        next.headers(headers, end)
      },
      data: (bytes: Uint8Array, end: boolean) => {
        if (modes.body === BodyMode.STREAMED) this.#send(this.#messages.body(kind, bytes, end))
        next.data(bytes, end)
      },
      trailers: (trailers: HeaderList) => {
        if (modes.trailers) this.#send(this.#messages.trailers(kind, trailers))
        next.trailers(trailers)
      },
    }
  }

  settle(): void {
    // Nothing is waited for.
  }

  destroy(): void {
    const call = this.#call
    this.#call = undefined
    this.#failed = true
    // The processor gets time to read what was sent.
    if (call !== undefined) setTimeout(() => call.finish(true), this.#settings.deferredCloseMs).unref()
  }

  #send(message: ProcessingMessage): void {
    if (this.#failed) return
    if (this.#call === undefined) {
      const opened = this.#host.openCall(this.#settings, {
        message: () => undefined,
        closed: () => {
          this.#failed = true
          this.#call = undefined
        },
        drained: () => undefined,
      })
      if (typeof opened === 'string') {
        this.#failed = true
        this.#host.stats.add(`${this.#settings.statPrefix}streams_failed`)
        return
      }
      this.#call = opened.call
      this.#host.stats.add(`${this.#settings.statPrefix}streams_started`)
    }
    this.#host.stats.add(`${this.#settings.statPrefix}stream_msgs_sent`)
    this.#call.send(message)
  }
}
