/** The messages that a gateway sends in one exchange, encoded beforehand by the generated code (not by the codec under test). */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { ProcessingMode_BodySendMode as Mode } from '../../src/gen/envoy/extensions/filters/http/ext_proc/v3/processing_mode_pb.ts'
import { ProcessingRequestSchema } from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { frameMessage } from '../../src/grpc/framing.ts'
import type { Exchange } from './ext-proc-client.ts'

export interface ExchangeOptions {
  readonly bodyBytes: number
  readonly chunkBytes: number
  /** Different prompts. */
  readonly distinct: number
  readonly modelLast: boolean
  /** `fds` or `look`. */
  readonly request: string
  /** `fds`, `headers` or `none`. */
  readonly response: string
  /** An event stream, one chunk after the answer to the one before. */
  readonly stream: boolean
  readonly responseChunks: number
}

const MODES: Readonly<Record<string, Mode>> = {
  fds: Mode.FULL_DUPLEX_STREAMED,
  look: Mode.STREAMED,
  none: Mode.NONE,
  headers: Mode.NONE,
}

const WORDS = ['the ', 'model ', 'routes ', 'tokens ', 'over ', 'many ', 'endpoints ', 'and ', 'keeps ', 'a ', 'cache ']

export function buildExchanges(options: ExchangeOptions): Exchange[] {
  return Array.from({ length: Math.max(1, options.distinct) }, (_, i) => buildExchange(i, options))
}

function buildExchange(index: number, options: ExchangeOptions): Exchange {
  const body = chatBody(index, options)
  const requestMode = mode(options.request)
  const responseMode = mode(options.response)
  const request = [
    encode({
      request: {
        case: 'requestHeaders',
        value: {
          headers: headerMap({
            ':authority': 'localhost:8081',
            ':path': '/v1/chat/completions',
            ':method': 'POST',
            ':scheme': 'http',
            'user-agent': 'signalbox-bench/1',
            accept: '*/*',
            'x-forwarded-for': '127.0.0.1',
            'x-forwarded-proto': 'http',
            'x-request-id': `7f1c9f9e-0000-4000-8000-${String(index).padStart(12, '0')}`,
            'content-type': 'application/json',
            'content-length': String(body.length),
          }),
          endOfStream: false,
        },
      },
      protocolConfig: {
        requestBodyMode: requestMode,
        responseBodyMode: responseMode,
        sendBodyWithoutWaitingForHeaderResponse: options.request === 'look',
      },
    }),
  ]
  for (let at = 0; at < body.length; at += options.chunkBytes) {
    const end = Math.min(body.length, at + options.chunkBytes)
    const value = { body: body.subarray(at, end), endOfStream: end === body.length }
    request.push(encode({ request: { case: 'requestBody', value } }))
  }
  const responses = options.response === 'none' ? [] : responseMessages(options)
  return { body, request, responses, lockstep: options.stream, look: options.request === 'look' }
}

function mode(name: string): Mode {
  const value = MODES[name]
  if (value === undefined) throw new Error(`no body mode ${name}`)
  return value
}

function responseMessages({ response, stream, responseChunks }: ExchangeOptions): Uint8Array[] {
  const headers = headerMap({
    ':status': '200',
    'content-type': stream ? 'text/event-stream; charset=utf-8' : 'application/json',
    server: 'uvicorn',
    date: 'Sat, 21 Nov 2026 03:31:25 GMT',
    'x-envoy-upstream-service-time': '3',
  })
  const messages = [encode({ request: { case: 'responseHeaders', value: { headers, endOfStream: false } } })]
  if (response === 'headers') return messages
  for (let i = 0; i < responseChunks; i++) {
    const last = i === responseChunks - 1
    const content = `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":"tok${i} "},"finish_reason":null}]}`
    const text = stream ? `data: ${content}\n\n${last ? 'data: [DONE]\n\n' : ''}` : content
    messages.push(encode({ request: { case: 'responseBody', value: { body: Buffer.from(text), endOfStream: last } } }))
  }
  return messages
}

function encode(message: MessageInitShape<typeof ProcessingRequestSchema>): Uint8Array {
  return frameMessage(toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, message)))
}

function headerMap(headers: Readonly<Record<string, string>>) {
  return { headers: Object.entries(headers).map(([key, value]) => ({ key, rawValue: Buffer.from(value) })) }
}

/** A chat request of about `bodyBytes`; the prompts differ from their first words on. */
function chatBody(index: number, { bodyBytes, modelLast }: ExchangeOptions): Buffer {
  const model = '"model":"m"'
  const rest = '"max_tokens":64,"temperature":0.7,"messages":[{"role":"user","content":"'
  const head = modelLast ? `{${rest}` : `{${model},${rest}`
  const tail = modelLast ? `"}],${model}}` : '"}]}'
  const wanted = Math.max(8, bodyBytes - head.length - tail.length)
  let prompt = `[${process.pid}-${index}] `
  for (let i = index; prompt.length < wanted; i = (i * 7 + 3) % 1009) prompt += WORDS[i % WORDS.length]
  return Buffer.from(head + prompt.slice(0, wanted) + tail)
}
