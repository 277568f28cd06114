/** A response that the processor streams itself (`streamed_immediate_response`): headers, chunks, perhaps trailers. */
import type { HeaderMap } from '../gen/envoy/config/core/v3/base_pb.ts'
import type { StreamedImmediateResponse } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { HeaderList } from './header-list.ts'
import type { MessageSink } from './message-sink.ts'

export class StreamedReply {
  ended = false
  #started = false
  readonly #sink: MessageSink

  constructor(sink: MessageSink) {
    this.#sink = sink
  }

  /** Why, when the part doesn't fit. */
  take(part: StreamedImmediateResponse): string | undefined {
    const { response } = part
    if (this.ended) return 'part after the end of a streamed response'
    if (response.case === 'headersResponse') {
      if (this.#started) return 'second headers of a streamed response'
      const headers = headerList(response.value.headers)
      if (!/^[2-5]\d\d$/.test(headers.get(':status') ?? '')) return 'streamed response without a valid status'
      this.#started = true
      this.ended = response.value.endOfStream
      this.#sink.headers(headers, this.ended)
      return undefined
    }
    if (!this.#started) return 'streamed response without headers'
    if (response.case === 'bodyResponse') {
      this.ended = response.value.endOfStream
      this.#sink.data(response.value.body, this.ended)
    } else if (response.case === 'trailersResponse') {
      this.ended = true
      this.#sink.trailers(headerList(response.value))
    } else return 'empty part of a streamed response'
    return undefined
  }
}

function headerList(map: HeaderMap | undefined): HeaderList {
  return new HeaderList(
    (map?.headers ?? []).map(header => [header.key.toLowerCase(), Buffer.from(header.rawValue).toString('latin1')]),
  )
}
