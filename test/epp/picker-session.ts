/** One request on an ext_proc stream, as a gateway in full duplex sends it; strict with what comes back. */
import { expect } from '@jest/globals'
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf'
import { BodyMode } from '../../src/extproc/modes.ts'
import type { ExtProcService } from '../../src/extproc/service.ts'
import type {
  ProcessingRequestSchema,
  ProcessingResponse,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { ScriptedEnvoy } from '../support/ext-proc-script.ts'
import { type Answer, readAnswer, refusalOf, setOf } from './picker-answer.ts'

export interface Call {
  readonly method?: string
  /** undefined: the gateway sends none. */
  readonly path?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  /** Absent: the headers are the end. */
  readonly body?: string | readonly (string | Buffer)[]
  /** Of the headers message. */
  readonly metadata?: Readonly<Record<string, JsonObject>>
  /** Of the body messages. */
  readonly bodyMetadata?: Readonly<Record<string, JsonObject>>
  /** The body ends with trailers instead of an end of stream. */
  readonly trailers?: boolean
}

type Message = MessageInitShape<typeof ProcessingRequestSchema>

/** One request, sent to the end of its body. */
export class Session {
  readonly #envoy: ScriptedEnvoy
  readonly #call: Call
  readonly #received: ProcessingResponse[] = []
  #answer: Answer | undefined

  constructor(service: ExtProcService, call: Call, responseMode: BodyMode) {
    const envoy = new ScriptedEnvoy(service)
    this.#envoy = envoy
    this.#call = call
    const { method = call.body === undefined ? 'GET' : 'POST' } = call
    const path = 'path' in call ? call.path : '/v1/completions'
    const chunks = call.body === undefined ? [] : typeof call.body === 'string' ? [call.body] : call.body
    const headers = headerList({ ':method': method, ...(path === undefined ? {} : { ':path': path }), ...call.headers })
    const messages: Message[] = [
      {
        request: {
          case: 'requestHeaders',
          value: { headers: { headers }, endOfStream: call.body === undefined && call.trailers !== true },
        },
        protocolConfig: { requestBodyMode: BodyMode.FULL_DUPLEX_STREAMED, responseBodyMode: responseMode },
        ...context(call.metadata),
      },
      ...chunks.map(
        (chunk, i): Message => ({
          request: {
            case: 'requestBody',
            value: { body: Buffer.from(chunk), endOfStream: i === chunks.length - 1 && call.trailers !== true },
          },
          ...context(call.bodyMetadata),
        }),
      ),
      ...(call.trailers === true
        ? [{ request: { case: 'requestTrailers', value: { trailers: { headers: [] } } } } satisfies Message]
        : []),
    ]
    for (const message of messages) {
      // After an answer of ours, or an end, a gateway says no more of the request.
      if (envoy.stream.ended !== undefined) break
      envoy.sends(message)
      this.#received.push(...envoy.receives())
    }
  }

  /** Something has been answered. */
  get isAnswered(): boolean {
    this.#received.push(...this.#envoy.receives())
    return this.#received.length > 0
  }

  /** To the request; all of it must be there. */
  get answer(): Answer {
    return (this.#answer ??= readAnswer(this.isAnswered ? this.#received : [], this.#call))
  }

  /** What takes back an answer that sent it on; undefined: nothing has yet. */
  get revocation(): Answer['refusal'] {
    const [message, ...others] = this.#envoy.receives()
    expect(others).toEqual([])
    return message?.response.case === 'immediateResponse' ? refusalOf(message.response.value) : undefined
  }

  /** The response, as far as the gateway still asks; what the client gets. */
  respond(
    headers: Readonly<Record<string, string>>,
    chunks: readonly (string | Buffer)[],
    options: { readonly metadata?: Readonly<Record<string, JsonObject>>; readonly trailers?: boolean } = {},
  ): {
    /** Response headers that were set. */
    readonly set: Readonly<Record<string, string>>
    readonly pieces: readonly string[]
    readonly ended: boolean
    readonly trailers: boolean
    readonly metadata: JsonObject
  } {
    const envoy = this.#envoy
    envoy.sends({
      request: {
        case: 'responseHeaders',
        value: {
          headers: { headers: headerList(headers) },
          endOfStream: chunks.length === 0 && options.trailers !== true,
        },
      },
      ...context(options.metadata),
    })
    const [first, ...others] = envoy.receives()
    expect(first?.response.case).toBe('responseHeaders')
    expect(others).toEqual([])
    const set = first?.response.case === 'responseHeaders' ? setOf(first.response.value.response?.headerMutation) : {}
    const pieces: string[] = []
    let ended = false
    let trailers = false
    let metadata: JsonObject = {}
    for (const [i, chunk] of chunks.entries()) {
      const endOfStream = i === chunks.length - 1 && options.trailers !== true
      envoy.sends({ request: { case: 'responseBody', value: { body: Buffer.from(chunk), endOfStream } } })
      let piece = ''
      for (const message of envoy.receives()) {
        expect(ended).toBe(false)
        expect(message.response.case).toBe('responseBody')
        metadata = { ...metadata, ...message.dynamicMetadata }
        if (message.response.case !== 'responseBody') continue
        const mutation = message.response.value.response?.bodyMutation?.mutation
        if (mutation?.case === 'streamedResponse') {
          piece += Buffer.from(mutation.value.body).toString()
          ended = mutation.value.endOfStream
        } else if (mutation?.case === 'body') piece += Buffer.from(mutation.value).toString()
        else piece += chunk.toString()
      }
      pieces.push(piece)
    }
    if (options.trailers === true) {
      envoy.sends({ request: { case: 'responseTrailers', value: { trailers: { headers: [] } } } })
      for (const message of envoy.receives()) {
        metadata = { ...metadata, ...message.dynamicMetadata }
        const { response } = message
        expect(trailers).toBe(false)
        if (response.case === 'responseTrailers') trailers = true
        else if (response.case === 'responseBody') {
          const mutation = response.value.response?.bodyMutation?.mutation
          if (mutation?.case === 'streamedResponse') pieces.push(Buffer.from(mutation.value.body).toString())
        }
      }
    }
    return { set, pieces, ended, trailers, metadata }
  }

  /** The response's headers alone; `piece` goes on. */
  startResponse(headers: Readonly<Record<string, string>>): void {
    this.#envoy.sends({ request: { case: 'responseHeaders', value: { headers: { headers: headerList(headers) } } } })
    expect(this.#envoy.receives()).toHaveLength(1)
  }

  piece(text: string, endOfStream = false): void {
    this.#envoy.sends({ request: { case: 'responseBody', value: { body: Buffer.from(text), endOfStream } } })
    this.#envoy.receives()
  }

  /** The gateway ends the stream. */
  close(): void {
    this.#envoy.resets()
  }
}

function headerList(headers: Readonly<Record<string, string>>) {
  return Object.entries(headers).map(([key, value]) => ({ key, rawValue: Buffer.from(value) }))
}

function context(metadata: Readonly<Record<string, JsonObject>> | undefined): Pick<Message, 'metadataContext'> {
  return metadata === undefined ? {} : { metadataContext: { filterMetadata: metadata } }
}

/** The subset hint as metadata. */
export function subset(value: JsonObject[string]): Readonly<Record<string, JsonObject>> {
  return { 'envoy.lb.subset_hint': { 'x-gateway-destination-endpoint-subset': value } }
}
