/**
 * One direction (request or response) of the ext_proc filter: what is held, what the processor was asked, and which answers fit.
 * Behaves as Envoy 1.40 was measured to (envoy-1.40-measured.md §1–§3, §7); any answer that doesn't fit is spurious.
 */
import type { CommonResponse, HeaderMutation } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { CommonResponse_ResponseStatus as Status } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { AnswerTimer } from './answer-timer.ts'
import type { DirectionHost } from './direction-host.ts'
import { BodyMode, type DirectionModes } from './ext-proc-settings.ts'
import type { HeaderList } from './header-list.ts'
import { HeldChunks } from './held-chunks.ts'
import { MessageOutlet } from './message-outlet.ts'
import type { Flow, MessageSink } from './message-sink.ts'

const EMPTY = new Uint8Array()

export class Direction implements MessageSink {
  readonly kind: 'request' | 'response'
  /** The processor holds bytes of this direction that Envoy no longer has. */
  duplexSent = false
  started = false
  readonly #host: DirectionHost
  readonly #out: MessageOutlet
  readonly #nowait: boolean
  readonly #timer: AnswerTimer
  readonly #held: HeldChunks
  readonly #stripLength: boolean
  #modes: DirectionModes
  #headers: HeaderList | undefined
  #headersEnd = false
  #awaitingHeaders = false
  #awaitingBuffered = false
  #awaitingTrailers = false
  #sourceEnded = false
  #trailers: HeaderList | undefined
  #trailersSent = false
  #duplexEos = false
  /** The rest of the source is read and thrown away. */
  #dropping = false
  #aside = false

  constructor(
    kind: 'request' | 'response',
    host: DirectionHost,
    next: MessageSink,
    flow: Flow,
    options: {
      modes: DirectionModes
      holdLimit: number
      nowait: boolean
      timeoutMs: number
      allowContentLength: boolean
    },
  ) {
    this.kind = kind
    this.#host = host
    this.#out = new MessageOutlet(next)
    this.#modes = options.modes
    this.#held = new HeldChunks(flow, options.holdLimit)
    this.#nowait = options.nowait && options.modes.body === BodyMode.STREAMED
    this.#timer = new AnswerTimer(options.timeoutMs, () => host.timeout())
    const { body, headers } = options.modes
    this.#stripLength =
      !options.allowContentLength &&
      (body === BodyMode.STREAMED || body === BodyMode.FULL_DUPLEX || (body === BodyMode.BUFFERED && !headers))
  }

  get modes(): DirectionModes {
    return this.#modes
  }

  get awaitingHeaders(): boolean {
    return this.#awaitingHeaders
  }

  /** Content-length set by the processor counts. */
  get keepsLength(): boolean {
    return !this.#stripLength
  }

  /** The processor neither owes an answer nor will be sent anything more. */
  get complete(): boolean {
    if (this.#aside || this.#out.ended) return !this.#awaitingTrailers
    const pending = this.#awaitingHeaders || this.#awaitingBuffered || this.#awaitingTrailers || !this.#held.empty
    return this.#out.begun && !pending && this.#modes.body === BodyMode.NONE && !this.#modes.trailers
  }

  /** A changed mode (mode_override) before the first answer was applied. */
  override(modes: DirectionModes): void {
    this.#modes = modes
  }

  // ---- from the source

  headers(headers: HeaderList, end: boolean): void {
    this.started = true
    this.#headers = headers
    this.#headersEnd = end
    this.#sourceEnded = end
    if (this.#aside) {
      this.#passHeaders()
      return
    }
    if (this.#modes.headers) {
      this.#awaitingHeaders = true
      this.#arm()
      this.#host.sendHeaders(this, headers, end)
    }
    if (this.#aside) return
    if (this.#stripLength) headers.remove('content-length')
    if (!this.#modes.headers) this.#passHeaders()
  }

  data(bytes: Uint8Array, end: boolean): void {
    if (end) this.#sourceEnded = true
    if (this.#dropping) return
    if (this.#aside) {
      this.#out.data(bytes, end)
      return
    }
    const { body } = this.#modes
    if (body === BodyMode.FULL_DUPLEX) this.#sendDuplex(bytes, end)
    else if (body === BodyMode.NONE && this.#out.begun && this.#held.empty) this.#out.data(bytes, end)
    else {
      this.#held.add(bytes, end, body !== BodyMode.BUFFERED)
      if (body === BodyMode.STREAMED) this.#sendPending()
      else if (body === BodyMode.BUFFERED) {
        if (this.#held.overLimit) this.#host.overflow(this)
        else if (end) this.#sendBuffered()
      }
    }
  }

  trailers(trailers: HeaderList): void {
    this.#sourceEnded = true
    if (this.#dropping) return
    this.#trailers = trailers
    if (this.#aside) this.#passTrailers()
    else this.#advanceTrailers()
  }

  // ---- from the processor

  headerAnswer(answer: CommonResponse | undefined): void {
    if (!this.#awaitingHeaders || this.#headers === undefined) {
      this.#host.spurious(`${this.kind} headers answer that is not awaited`)
      return
    }
    const replacing = answer?.status === Status.CONTINUE_AND_REPLACE
    this.#awaitingHeaders = false
    this.#timer.stop()
    if (
      answer?.headerMutation !== undefined &&
      !this.#host.mutate(this, this.#headers, answer.headerMutation, replacing)
    )
      return
    this.#host.routeAnswer(this, answer?.headerMutation !== undefined, answer?.clearRouteCache === true)
    if (replacing)
      this.#replace(answer.bodyMutation?.mutation.case === 'body' ? answer.bodyMutation.mutation.value : EMPTY)
    else this.#afterHeaders()
  }

  bodyAnswer(answer: CommonResponse | undefined): void {
    const mutation = answer?.bodyMutation?.mutation
    if (this.#awaitingHeaders) {
      this.#host.spurious(`${this.kind} body answer before the headers answer`)
      return
    }
    if (this.#modes.body === BodyMode.FULL_DUPLEX) {
      if (this.#out.ended || this.#duplexEos || this.#dropping)
        this.#host.spurious(`${this.kind} body answer after the end of stream`)
      else if (mutation?.case !== 'streamedResponse')
        this.#host.spurious(
          `plain ${this.kind} body answer in full duplex`,
          'spurious_message:_Normal_body_mutation_response_is_received_while_body_mode__is_FULL_DUPLEX_STREAMED',
        )
      else this.#duplexAnswer(mutation.value.body, mutation.value.endOfStream)
      return
    }
    if (mutation?.case === 'streamedResponse') {
      this.#host.spurious(
        `streamed ${this.kind} body answer outside full duplex`,
        'spurious_message:_streamed_response_is_received_while_body_mode__is_not_FULL_DUPLEX_STREAMED',
      )
      return
    }
    const replaced =
      mutation?.case === 'body' ? mutation.value : mutation?.case === 'clearBody' && mutation.value ? EMPTY : undefined
    if (this.#awaitingBuffered) this.#bufferedAnswer(answer, replaced)
    else if (this.#modes.body === BodyMode.STREAMED && this.#held.first?.sent === true) this.#chunkAnswer(replaced)
    else this.#host.spurious(`${this.kind} body answer that is not awaited`)
  }

  trailerAnswer(mutation: HeaderMutation | undefined): void {
    if (!this.#awaitingTrailers || this.#awaitingHeaders || this.#trailers === undefined) {
      // A chunk with end_of_stream may have closed the response before its trailers were answered.
      if (!this.#trailersSent || !this.#out.ended || !this.#duplexEos)
        this.#host.spurious(`${this.kind} trailers answer that is not awaited`)
      return
    }
    this.#awaitingTrailers = false
    this.#timer.stop()
    if (mutation !== undefined && !this.#host.mutate(this, this.#trailers, mutation, false)) return
    this.#passTrailers()
  }

  /** A `mode_override` alone, before the header answer: only NONE → FULL_DUPLEX_STREAMED with trailers is possible. */
  openDuplex(modes: DirectionModes): boolean {
    if (!this.#awaitingHeaders || this.#modes.body !== BodyMode.NONE) return false
    if (modes.body !== BodyMode.FULL_DUPLEX || !modes.trailers) return false
    this.#modes = modes
    this.#timer.stop()
    this.#flushToDuplex()
    return true
  }

  /** True when a running timer took the new time: once per question. */
  restartTimer(ms: number): boolean {
    return this.#timer.lengthen(ms)
  }

  /** The rest passes unprocessed; what the processor holds (duplex) is lost. */
  stepAside(): void {
    if (this.#aside) return
    this.#aside = true
    this.#timer.stop()
    this.#awaitingHeaders = this.#awaitingBuffered = this.#awaitingTrailers = false
    if (!this.started || this.#out.ended || this.#dropping) return
    if (!this.#out.begun) this.#passHeaders()
    for (const chunk of this.#held.takeAll()) this.#out.data(chunk.bytes, chunk.end)
    if (this.#trailers !== undefined) this.#passTrailers()
    else if (this.#sourceEnded) this.#out.data(EMPTY, true)
  }

  /** Nothing of this direction matters any more: a local reply, or the exchange ended. */
  abandon(): void {
    this.#timer.stop()
    this.#dropping = true
    this.#awaitingHeaders = this.#awaitingBuffered = this.#awaitingTrailers = false
    this.#held.takeAll()
  }

  // ---- inside

  #afterHeaders(): void {
    if (this.#headersEnd) {
      this.#passHeaders()
      return
    }
    const { body } = this.#modes
    if (body === BodyMode.BUFFERED) {
      if (this.#sourceEnded) this.#sendBuffered()
      return
    }
    this.#passHeaders()
    if (body === BodyMode.FULL_DUPLEX) this.#flushToDuplex()
    else if (body === BodyMode.STREAMED) {
      if (this.#held.asked) this.#arm()
      this.#sendPending()
    } else for (const chunk of this.#held.takeAll()) this.#out.data(chunk.bytes, chunk.end)
    this.#advanceTrailers()
  }

  #replace(body: Uint8Array): void {
    this.#dropping = true
    this.#held.takeAll()
    this.#modes = { headers: true, body: BodyMode.NONE, trailers: false }
    this.#trailers = undefined
    this.#headers?.remove('content-length')
    this.#headersEnd = body.length === 0
    this.#passHeaders()
    if (body.length > 0) this.#out.data(body, true)
  }

  #flushToDuplex(): void {
    for (const chunk of this.#held.takeAll()) this.#sendDuplex(chunk.bytes, chunk.end)
    if (this.#trailers !== undefined && !this.#trailersSent) this.#askTrailers(this.#trailers)
  }

  #sendDuplex(bytes: Uint8Array, end: boolean): void {
    if (this.#out.ended || (bytes.length === 0 && !end)) return
    this.duplexSent = true
    this.#host.sendBody(this, bytes, end)
  }

  #duplexAnswer(bytes: Uint8Array, end: boolean): void {
    if (end) this.#duplexEos = true
    const waits = this.#trailersSent && this.kind === 'request'
    if (end && !waits) {
      this.#dropping = true
      this.#awaitingTrailers = false
    }
    this.#out.data(bytes, end && !waits)
  }

  #sendPending(): void {
    if (this.#awaitingHeaders && !this.#nowait) return
    for (const chunk of this.#held) {
      if (chunk.sent) continue
      chunk.sent = true
      if (!this.#awaitingHeaders) this.#arm()
      this.#host.sendBody(this, chunk.bytes, chunk.end)
      if (this.#aside || this.#dropping) return
    }
  }

  #chunkAnswer(replaced: Uint8Array | undefined): void {
    const chunk = this.#held.shift()
    if (chunk === undefined) return
    if (this.#held.asked) this.#arm()
    else this.#timer.stop()
    this.#out.data(replaced ?? chunk.bytes, chunk.end)
    this.#advanceTrailers()
  }

  #sendBuffered(): void {
    if (this.#awaitingHeaders || this.#awaitingBuffered) return
    if (this.#held.empty) {
      this.#advanceTrailers()
      return
    }
    const end = this.#trailers === undefined
    const whole = this.#held.join(end)
    this.#awaitingBuffered = true
    this.#arm()
    this.#host.sendBody(this, whole, end)
  }

  #bufferedAnswer(answer: CommonResponse | undefined, replaced: Uint8Array | undefined): void {
    this.#awaitingBuffered = false
    this.#timer.stop()
    const headers = this.#headers
    if (headers === undefined) return
    if (!this.#out.begun) {
      if (answer?.headerMutation !== undefined && !this.#host.mutate(this, headers, answer.headerMutation, false))
        return
      this.#host.routeAnswer(this, answer?.headerMutation !== undefined, answer?.clearRouteCache === true)
      const length = headers.get('content-length')
      if (replaced !== undefined && length !== undefined && Number(length) !== replaced.length) {
        this.#host.fail('mismatch_between_content_length_and_the_length_of_the_mutated_body')
        return
      }
      this.#passHeaders()
    }
    for (const chunk of this.#held.takeAll()) this.#out.data(replaced ?? chunk.bytes, chunk.end)
    this.#advanceTrailers()
  }

  #advanceTrailers(): void {
    const trailers = this.#trailers
    if (trailers === undefined || this.#aside || this.#dropping || this.#trailersSent) return
    if (this.#modes.body === BodyMode.FULL_DUPLEX) {
      this.#askTrailers(trailers)
      return
    }
    if (this.#awaitingHeaders || this.#awaitingBuffered) return
    if (!this.#held.empty) {
      if (this.#modes.body === BodyMode.BUFFERED) this.#sendBuffered()
      return
    }
    if (!this.#out.begun) this.#passHeaders()
    if (this.#modes.trailers) this.#askTrailers(trailers)
    else this.#passTrailers()
  }

  #askTrailers(trailers: HeaderList): void {
    this.#trailersSent = true
    this.#awaitingTrailers = true
    this.#arm()
    this.#host.sendTrailers(this, trailers)
  }

  #passHeaders(): void {
    if (this.#headers !== undefined) this.#out.headers(this.#headers, this.#headersEnd)
  }

  #passTrailers(): void {
    if (this.#trailers !== undefined) this.#out.trailers(this.#trailers)
  }

  /** No timer while the processor owns the body. */
  #arm(): void {
    if (this.#modes.body !== BodyMode.FULL_DUPLEX) this.#timer.start()
  }
}
