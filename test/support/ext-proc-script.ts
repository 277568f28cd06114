import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { IncomingMessage } from '../../src/extproc/decode-request.ts'
import { type Decider, Refusal, Verdict } from '../../src/extproc/decider.ts'
import type { Exchange } from '../../src/extproc/exchange.ts'
import { ExtProcService, type ExtProcOptions } from '../../src/extproc/service.ts'
import {
  ProcessingRequestSchema,
  type ProcessingResponse,
  ProcessingResponseSchema,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { type GrpcStatus, type ServerStream, StreamEnd, type StreamHandler } from '../../src/grpc/transport.ts'

/**
 * Plays Envoy at an `ExtProcService` without a network, as a transcript: `envoy.sends(...)`, `envoy.receives()`. Messages are
 * built and read with protobuf-es, so that the hand codec is checked on the way.
 */

/** Lengths of the parts in which messages reach the service; 0 = whole. */
export type Split = number

class ScriptedStream implements ServerStream {
  readonly sent: Uint8Array[] = []
  granted = 0
  ended: { status: GrpcStatus; message: string | undefined } | undefined
  pendingBytes = 0
  /** Calls that came after the end. */
  late = 0

  send(bytes: Uint8Array): void {
    if (this.ended) this.late++
    this.sent.push(Buffer.from(bytes))
  }

  end(status: GrpcStatus, message?: string): void {
    if (this.ended) this.late++
    this.ended ??= { status, message }
  }

  grant(bytes: number): void {
    this.granted += bytes
  }
}

export class ScriptedEnvoy {
  readonly stream = new ScriptedStream()
  readonly #handler: StreamHandler
  readonly #split: Split
  #read = 0

  constructor(service: ExtProcService, split: Split = 0, headers: Record<string, string> = {}) {
    this.#handler = service.open(this.stream, headers)
    this.#split = split
  }

  sends(message: MessageInitShape<typeof ProcessingRequestSchema>): void {
    this.sendsBytes(toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, message)))
  }

  sendsBytes(bytes: Uint8Array): void {
    const step = this.#split === 0 ? Math.max(1, bytes.length) : this.#split
    let at = 0
    do {
      const end = Math.min(bytes.length, at + step)
      this.#handler.data(Buffer.from(bytes.subarray(at, end)), bytes.length - end)
      at = end
    } while (at < bytes.length)
  }

  /** A part of a message with `remaining` bytes still to come. */
  sendsPart(part: Uint8Array, remaining: number): void {
    this.#handler.data(part, remaining)
  }

  halfCloses(): void {
    this.#handler.closed(StreamEnd.HALF_CLOSED)
  }

  resets(): void {
    this.#handler.closed(StreamEnd.RESET)
  }

  /** The answers since the last call. */
  receives(): ProcessingResponse[] {
    const bytes = Buffer.concat(this.stream.sent.slice(this.#read))
    this.#read = this.stream.sent.length
    const messages: ProcessingResponse[] = []
    for (let at = 0; at < bytes.length; ) {
      const length = bytes.readUInt32BE(at + 1)
      if (bytes[at] !== 0 || at + 5 + length > bytes.length) throw new Error('broken gRPC framing')
      messages.push(fromBinary(ProcessingResponseSchema, bytes.subarray(at + 5, at + 5 + length)))
      at += 5 + length
    }
    return messages
  }

  /** The answers since the last call, one short word each: see `word`. */
  receivesWords(): string[] {
    return this.receives().map(word)
  }
}

/** One answer as a short word: `hdr`, `hdr(x-a=1 clear)`, `body`, `body[replaced]`, `chunk[text eos]`, `trailers`, `immediate(404)` … */
function word(message: ProcessingResponse): string {
  const { response } = message
  const side = response.case?.startsWith('response') ? 'resp-' : ''
  switch (response.case) {
    case 'requestHeaders':
    case 'responseHeaders': {
      const common = response.value.response
      const set =
        common?.headerMutation?.setHeaders.map(
          each => `${each.header?.key}=${Buffer.from(each.header?.rawValue ?? []).toString()}`,
        ) ?? []
      const removed = common?.headerMutation?.removeHeaders.map(name => `-${name}`) ?? []
      const notes = [...set, ...removed, ...(common?.clearRouteCache ? ['clear'] : [])]
      const override = message.modeOverride ? `+mode(${message.modeOverride.requestBodyMode})` : ''
      return `${side}hdr${notes.length > 0 ? `(${notes.join(' ')})` : ''}${override}`
    }
    case 'requestBody':
    case 'responseBody': {
      const common = response.value.response
      const mutation = common?.bodyMutation?.mutation
      const set =
        common?.headerMutation?.setHeaders.map(
          each => `${each.header?.key}=${Buffer.from(each.header?.rawValue ?? []).toString()}`,
        ) ?? []
      const notes =
        set.length > 0 || common?.clearRouteCache
          ? `(${[...set, ...(common?.clearRouteCache ? ['clear'] : [])].join(' ')})`
          : ''
      if (mutation?.case === 'streamedResponse') {
        return `${side}chunk[${Buffer.from(mutation.value.body).toString()}${mutation.value.endOfStream ? ' eos' : ''}]`
      }
      if (mutation?.case === 'body') return `${side}body${notes}[${Buffer.from(mutation.value).toString()}]`
      if (mutation?.case === 'clearBody') return `${side}body[cleared]`
      return `${side}body${notes}`
    }
    case 'requestTrailers':
    case 'responseTrailers':
      return `${side}trailers`
    case 'immediateResponse':
      return `immediate(${response.value.status?.code})`
    case 'streamedImmediateResponse':
      return `streamed-immediate:${response.value.response.case}`
    default:
      if (message.overrideMessageTimeout)
        return `timeout(${Number(message.overrideMessageTimeout.seconds) * 1000 + message.overrideMessageTimeout.nanos / 1e6})`
      if (message.modeOverride) return `mode(${message.modeOverride.requestBodyMode})`
      return 'nothing'
  }
}

/** What a scripted decider does with a body, by the bytes seen so far. */
export type Script = (body: string, ended: boolean, exchange: Exchange) => Verdict

/** A decider for tests: `onHeaders` and `onBody` fill `exchange.decision`. */
export class ScriptedDecider implements Decider {
  maxBodyBytes = 1024 * 1024
  messageTimeoutMs = 1000
  uploadTimeoutMs = 10_000
  uploadIdleMs = 10_000
  followsResponse = false
  retryBufferBytes = 0
  mayRewrite = false
  onHeaders: Script = () => Verdict.MORE
  onBody: Script = (_body, ended, exchange) => {
    if (!ended) return Verdict.MORE
    exchange.decision.set('x-routed', 'yes')
    exchange.decision.clearRouteCache = true
    return Verdict.DECIDED
  }
  readonly log: string[] = []
  readonly #bodies = new Map<Exchange, string>()

  requestHeaders(exchange: Exchange, _message: IncomingMessage, bodyComes: boolean): Verdict {
    this.#bodies.set(exchange, '')
    const verdict = this.onHeaders('', !bodyComes, exchange)
    return verdict === Verdict.MORE && !bodyComes ? this.onBody('', true, exchange) : verdict
  }

  requestMetadata(): void {
    this.log.push('metadata')
  }

  requestBody(exchange: Exchange, bytes: Buffer, start: number, end: number): Verdict {
    const body = this.#bodies.get(exchange)! + bytes.toString('latin1', start, end)
    this.#bodies.set(exchange, body)
    return this.onBody(body, false, exchange)
  }

  requestEnd(exchange: Exchange): Verdict {
    return this.onBody(this.#bodies.get(exchange)!, true, exchange)
  }

  refuse(exchange: Exchange, refusal: Refusal): void {
    exchange.decision.immediateStatus =
      refusal === Refusal.BODY_TOO_LARGE ? 413 : refusal === Refusal.UPLOAD_TIMEOUT ? 408 : 503
    exchange.decision.immediateBody = Buffer.from(refusal)
  }

  responseHeaders(): void {
    this.log.push('response headers')
  }

  responseEnd(): void {
    this.log.push('response end')
  }

  closed(exchange: Exchange): void {
    this.#bodies.delete(exchange)
    this.log.push('closed')
  }
}

export function scriptedService(decider: Decider, options: Partial<ExtProcOptions> = {}): ExtProcService {
  return new ExtProcService({ decider: () => decider, retainsParts: false, ...options })
}
