/** An ext_proc server that answers by script. */
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import {
  type ProcessingRequest,
  ProcessingRequestSchema,
  ProcessingResponseSchema,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'

export type Answer = MessageInitShape<typeof ProcessingResponseSchema>

/** One gRPC stream as a script sees it. */
interface ScriptedCall {
  readonly metadata: Readonly<Record<string, string>>
  /** The next message; undefined once the client ended or reset the stream. */
  next(): Promise<ProcessingRequest | undefined>
  send(...answers: Answer[]): void
  /** Ends the stream with a status, default OK. */
  end(code?: number, message?: string): void
  /** Fulfilled when the stream is over. */
  readonly over: Promise<void>
}

export type CallScript = (call: ScriptedCall) => Promise<void>

export interface ScriptedProcessor {
  readonly port: number
  /** Words of all messages received, a list per stream. */
  readonly streams: readonly (readonly string[])[]
  script(script: CallScript): void
  close(): void
}

type Stream = ServerDuplexStream<ProcessingRequest, Answer>

export async function startScriptedProcessor(script: CallScript, port = 0): Promise<ScriptedProcessor> {
  let current = script
  const streams: string[][] = []
  const server = new Server({ 'grpc.max_receive_message_length': -1 })
  const definition = {
    Process: {
      path: '/envoy.service.ext_proc.v3.ExternalProcessor/Process',
      requestStream: true as const,
      responseStream: true as const,
      requestSerialize: (message: ProcessingRequest) => Buffer.from(toBinary(ProcessingRequestSchema, message)),
      requestDeserialize: (bytes: Buffer) => fromBinary(ProcessingRequestSchema, bytes),
      responseSerialize: (answer: Answer) =>
        Buffer.from(toBinary(ProcessingResponseSchema, create(ProcessingResponseSchema, answer))),
      responseDeserialize: (bytes: Buffer) => fromBinary(ProcessingResponseSchema, bytes) as Answer,
    },
  }
  server.addService(definition, {
    Process: (stream: Stream) => {
      const words: string[] = []
      streams.push(words)
      const call = scriptedCall(stream, words)
      current(call).catch((error: unknown) => call.end(13, String(error)))
    },
  })
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
    error === null ? resolve(bound) : reject(error),
  )
  return {
    port: await promise,
    streams,
    script: next => {
      current = next
    },
    close: () => server.forceShutdown(),
  }
}

function scriptedCall(stream: Stream, words: string[]): ScriptedCall {
  const waiting: ((message: ProcessingRequest | undefined) => void)[] = []
  const arrived: ProcessingRequest[] = []
  const { promise: over, resolve: setOver } = Promise.withResolvers<void>()
  let ended = false
  const finish = (): void => {
    ended = true
    for (const give of waiting.splice(0)) give(undefined)
    setOver()
  }
  stream.on('data', (message: ProcessingRequest) => {
    words.push(word(message))
    const give = waiting.shift()
    if (give === undefined) arrived.push(message)
    else give(message)
  })
  stream.on('end', finish)
  stream.on('cancelled', finish)
  stream.on('error', finish)
  return {
    metadata: Object.fromEntries(
      Object.entries(stream.metadata.getMap()).map(([key, value]) => [key, value.toString()]),
    ),
    over,
    next: () => {
      const message = arrived.shift()
      if (message !== undefined || ended) return Promise.resolve(message)
      return new Promise(resolve => {
        waiting.push(resolve)
      })
    },
    send: (...answers) => {
      for (const answer of answers) stream.write(answer)
    },
    end: (code, message = '') => {
      if (code === undefined || code === 0) stream.end()
      else stream.emit('error', Object.assign(new Error(message), { code, details: message }))
    },
  }
}

/** `requestBody(5,end)`, `requestHeaders(end)` … */
function word({ request }: ProcessingRequest): string {
  if (request.case === 'requestHeaders' || request.case === 'responseHeaders')
    return request.value.endOfStream ? `${request.case}(end)` : request.case
  if (request.case === 'requestBody' || request.case === 'responseBody')
    return `${request.case}(${request.value.body.length}${request.value.endOfStream ? ',end' : ''})`
  return request.case ?? 'nothing'
}

export function headerOf(message: ProcessingRequest | undefined, name: string): string | undefined {
  const { request } = message ?? {}
  if (request?.case !== 'requestHeaders' && request?.case !== 'responseHeaders') return undefined
  const header = request.value.headers?.headers.find(entry => entry.key === name)
  return header === undefined ? undefined : Buffer.from(header.rawValue).toString('latin1')
}

export function setHeaders(headers: Record<string, string>): { header: { key: string; rawValue: Uint8Array } }[] {
  return Object.entries(headers).map(([key, value]) => ({ header: { key, rawValue: Buffer.from(value, 'latin1') } }))
}
