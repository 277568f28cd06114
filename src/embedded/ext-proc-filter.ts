/**
 * The ext_proc filter of one exchange: opens the gRPC stream at the first message, gives answers to the direction they are for,
 * and applies Envoy's failure rules (envoy-1.40-measured.md §5). Strict: an answer that fits nowhere is an error.
 */
import type { JsonObject } from '@bufbuild/protobuf'
import type {
  HeaderMutation,
  ImmediateResponse,
  ProcessingResponse,
} from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import type { ProcessingMode } from '../gen/envoy/extensions/filters/http/ext_proc/v3/processing_mode_pb.ts'
import type { ProcessCall } from './ext-proc-client.ts'
import type { DirectionHost } from './direction-host.ts'
import { Direction } from './ext-proc-direction.ts'
import { BodyMode, type ExtProcSettings, type Modes } from './ext-proc-settings.ts'
import { MessageBuilder, type ProcessingMessage } from './ext-proc-message.ts'
import { applyOverride } from './ext-proc-override.ts'
import { StreamedReply } from './ext-proc-streamed-reply.ts'
import { applyMutation } from './header-mutation.ts'
import type { HeaderList } from './header-list.ts'
import type { FilterHost, FilterOptions, LocalReply } from './filter-host.ts'
import { immediateHeaders } from './immediate-response.ts'
import { type Flow, HoldReason, type MessageSink } from './message-sink.ts'
import { milliseconds } from './resource-reader.ts'

export class ExtProcFilter implements DirectionHost {
  readonly request: Direction
  readonly response: Direction
  readonly #settings: ExtProcSettings
  readonly #host: FilterHost
  readonly #options: FilterOptions
  readonly #flows: readonly Flow[]
  #call: ProcessCall | undefined
  #sendLimit = Number.POSITIVE_INFINITY
  #opened = false
  #over = false
  #streamed: StreamedReply | undefined
  readonly #messages: MessageBuilder
  #responseModes: Modes['response']

  constructor(
    settings: ExtProcSettings,
    host: FilterHost,
    options: FilterOptions,
    request: { readonly next: MessageSink; readonly flow: Flow; readonly holdLimit: number },
    response: { readonly next: MessageSink; readonly flow: Flow; readonly holdLimit: number },
  ) {
    this.#settings = settings
    this.#host = host
    this.#messages = new MessageBuilder(settings, host)
    this.#options = options
    this.#flows = [request.flow, response.flow]
    const { nowait, messageTimeoutMs: timeoutMs, allowContentLength } = settings
    const modes: Modes = settings.modes
    this.#responseModes = modes.response
    this.request = new Direction('request', this, request.next, request.flow, {
      modes: modes.request,
      holdLimit: request.holdLimit,
      nowait,
      timeoutMs,
      allowContentLength,
    })
    this.response = new Direction('response', this, response.next, response.flow, {
      modes: modes.response,
      holdLimit: response.holdLimit,
      nowait,
      timeoutMs,
      allowContentLength,
    })
  }

  /** After events were given to a direction: ends the stream once nothing is left to say. */
  settle(): void {
    if (this.#over || !this.#opened || this.#streamed !== undefined || !this.request.complete) return
    const { headers, body, trailers } = this.#responseModes
    const responseDone = this.response.started
      ? this.response.complete
      : !headers && body === BodyMode.NONE && !trailers
    if (responseDone) this.#close()
  }

  /** The exchange is over, however. */
  destroy(): void {
    this.request.abandon()
    this.response.abandon()
    this.#close()
  }

  // ---- DirectionHost

  sendHeaders(direction: Direction, headers: HeaderList, end: boolean): void {
    this.#send(this.#messages.headers(direction.kind, headers, end))
  }

  sendBody(direction: Direction, bytes: Uint8Array, end: boolean): void {
    this.#send(this.#messages.body(direction.kind, bytes, end))
    if (this.#call !== undefined && this.#call.pendingBytes > this.#sendLimit)
      for (const flow of this.#flows) flow.hold(HoldReason.PROCESSOR)
  }

  sendTrailers(direction: Direction, trailers: HeaderList): void {
    this.#send(this.#messages.trailers(direction.kind, trailers))
  }

  mutate(direction: Direction, headers: HeaderList, mutation: HeaderMutation, replacing: boolean): boolean {
    const { rules } = this.#settings
    const result = applyMutation(headers, mutation, { rules, replacing, contentLength: direction.keepsLength })
    if (result.rejected > 0) this.#count('rejected_header_mutations', result.rejected)
    if (result.error !== undefined) this.fail(result.error)
    return result.error === undefined
  }

  routeAnswer(direction: Direction, mutated: boolean, clear: boolean): void {
    const { routeCache } = this.#settings
    if (direction.kind === 'response' || !mutated) {
      if (clear) this.#count('clear_route_cache_ignored')
    } else if (routeCache === 'clear' || (routeCache === 'default' && clear)) this.#host.clearRoute()
    else if (clear) this.#count('clear_route_cache_disabled')
  }

  spurious(reason: string, details = 'spurious_message'): void {
    if (this.#over) return
    this.#count('spurious_msgs_received')
    this.#host.report(reason)
    this.fail(details)
  }

  fail(details: string, status = this.#settings.statusOnError): void {
    if (this.#over) return
    this.#close()
    // Bytes that left for the processor are gone: the request can't go on without it.
    if (
      this.#settings.failOpen &&
      !this.request.duplexSent &&
      !this.response.duplexSent &&
      this.#streamed === undefined
    ) {
      this.#count('failure_mode_allowed')
      this.#stepAside()
    } else this.#reply({ status, details })
  }

  timeout(): void {
    this.#count('message_timeouts')
    this.fail('ext_proc_error_per-message_timeout_exceeded', 504)
  }

  overflow(direction: Direction): void {
    this.#close()
    if (direction.kind === 'request')
      this.#reply({ status: 413, details: 'request_payload_too_large', body: Buffer.from('Payload Too Large') })
    else this.#reply({ status: 500, details: 'response_payload_too_large', body: Buffer.from('Internal Server Error') })
  }

  // ---- the stream

  #send(message: ProcessingMessage): void {
    if (this.#over || (!this.#opened && !this.#open())) return
    this.#count('stream_msgs_sent')
    this.#call?.send(message)
  }

  #open(): boolean {
    this.#opened = true
    const opened = this.#host.openCall(this.#settings, {
      message: message => {
        this.#receive(message)
        this.settle()
      },
      closed: (status, text, cause) => this.#closedByServer(status, text, cause),
      drained: () => {
        for (const flow of this.#flows) flow.release(HoldReason.PROCESSOR)
      },
    })
    if (typeof opened === 'string') {
      this.#count('streams_failed')
      this.fail(grpcDetails(14, opened, opened.includes('overflow') ? 'overflow' : 'no_healthy_upstream'))
      return false
    }
    this.#call = opened.call
    this.#sendLimit = opened.sendLimit
    this.#count('streams_started')
    return true
  }

  #receive(message: ProcessingResponse): void {
    if (this.#over) return
    const override = message.overrideMessageTimeout
    if (override !== undefined) {
      const ms = milliseconds(override, 0)
      const inRange = ms >= 1 && ms <= this.#settings.maxMessageTimeoutMs
      const taken = inRange && [this.request, this.response].map(direction => direction.restartTimer(ms)).includes(true)
      this.#count(taken ? 'override_message_timeout_received' : 'override_message_timeout_ignored')
      return
    }
    const { response } = message
    if (response.case === undefined) {
      this.#standaloneOverride(message.modeOverride)
      return
    }
    this.#count('stream_msgs_received')
    this.#takeMetadata(message.dynamicMetadata)
    if (this.#streamed !== undefined) {
      const problem =
        response.case === 'streamedImmediateResponse'
          ? this.#streamed.take(response.value)
          : 'answer within a streamed response'
      if (problem !== undefined) this.spurious(problem)
      else if (this.#streamed.ended) this.#close()
      return
    }
    if (response.case === 'requestHeaders' || response.case === 'responseHeaders') {
      const direction = response.case === 'requestHeaders' ? this.request : this.response
      if (message.modeOverride !== undefined && direction.awaitingHeaders)
        this.#override(direction, message.modeOverride)
      direction.headerAnswer(response.value.response)
    } else if (response.case === 'requestBody') this.request.bodyAnswer(response.value.response)
    else if (response.case === 'responseBody') this.response.bodyAnswer(response.value.response)
    else if (response.case === 'requestTrailers') this.request.trailerAnswer(response.value.headerMutation)
    else if (response.case === 'responseTrailers') this.response.trailerAnswer(response.value.headerMutation)
    else if (response.case === 'immediateResponse') this.#immediate(response.value)
    else this.#startStreamedReply(response.value)
  }

  #standaloneOverride(mode: ProcessingMode | undefined): void {
    const modes = mode === undefined ? undefined : applyOverride(this.#settings, mode, 'request')
    if (modes !== undefined && this.request.openDuplex(modes.request)) return
    this.#count('stream_msgs_received')
    this.spurious('answer without content', 'unhandled_message')
  }

  #override(direction: Direction, mode: ProcessingMode): void {
    const modes = applyOverride(this.#settings, mode, direction.kind)
    if (modes === undefined) return
    if (direction.kind === 'request') this.request.override(modes.request)
    if (direction.kind === 'response' || !this.response.started) {
      this.#responseModes = modes.response
      this.response.override(modes.response)
    }
  }

  #takeMetadata(metadata: JsonObject | undefined): void {
    for (const [namespace, values] of Object.entries(metadata ?? {})) {
      if (
        !this.#settings.receivingNamespaces.has(namespace) ||
        typeof values !== 'object' ||
        values === null ||
        Array.isArray(values)
      )
        continue
      this.#host.metadata.set(namespace, { ...this.#host.metadata.get(namespace), ...values })
    }
  }

  #immediate(answer: ImmediateResponse): void {
    if (this.#settings.disableImmediateResponse) {
      this.spurious('immediate response where it is disabled', 'unhandled_immediate_response_due_to_config_disabled_it')
      return
    }
    const { headers, result } = immediateHeaders(answer, this.#settings.rules)
    this.#count('rejected_header_mutations', result.rejected)
    if (result.error !== undefined) {
      this.fail(result.error)
      return
    }
    this.#count('immediate_responses_sent')
    this.#close()
    this.#reply({
      status: Number(headers.get(':status')),
      details: answer.details.replaceAll(/\s/g, '_'),
      headers,
      body: answer.body,
    })
  }

  #startStreamedReply(answer: Parameters<StreamedReply['take']>[0]): void {
    const { body } = this.request.modes
    if (body !== BodyMode.NONE && body !== BodyMode.FULL_DUPLEX) {
      this.spurious(
        'streamed immediate response in a body mode that has none',
        'streaming_local_response_body_is_only_supported_in_NONE_or_FULL_DUPLEX_STREAMED_modes',
      )
      return
    }
    if (!this.request.awaitingHeaders) {
      this.spurious('streamed immediate response that does not answer request headers')
      return
    }
    this.request.abandon()
    this.response.abandon()
    this.#streamed = new StreamedReply(this.#host.takeOver())
    const problem = this.#streamed.take(answer)
    if (problem !== undefined) this.spurious(problem)
    else if (this.#streamed.ended) this.#close()
  }

  #closedByServer(status: number, text: string, cause: string): void {
    if (this.#over) return
    if (status !== 0) {
      this.#count('streams_failed')
      this.fail(grpcDetails(status, text, cause))
      return
    }
    this.#count('server_half_closed')
    this.#close()
    if (this.#streamed === undefined) this.#stepAside()
    else this.#reply({ status: 500, details: 'ext_proc_streamed_response_incomplete' })
  }

  #stepAside(): void {
    this.request.stepAside()
    this.response.stepAside()
  }

  #reply(reply: LocalReply): void {
    this.request.abandon()
    this.response.abandon()
    this.#host.localReply(reply)
  }

  /** No message is sent or taken from here on. */
  #close(): void {
    if (this.#over) return
    this.#over = true
    for (const flow of this.#flows) flow.release(HoldReason.PROCESSOR)
    if (!this.#opened || this.#call === undefined) return
    this.#count('streams_closed')
    this.#call.finish(this.#options.gracefulClose)
  }

  #count(name: string, by = 1): void {
    this.#host.stats.add(this.#settings.statPrefix + name, by)
  }
}

/** Envoy's response code details: the gRPC error with what the connection said in braces, spaces as underscores. */
function grpcDetails(status: number, text: string, cause: string): string {
  return `ext_proc_error_gRPC_error_${status}{${text}{${cause}}}`.replaceAll(/\s/g, '_')
}
