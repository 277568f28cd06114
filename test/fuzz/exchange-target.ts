/**
 * Exchanges: the messages of one request and its response, as Envoy sends them and in any other order, whole and in random parts. What
 * comes back is read by protobuf-es: nothing spurious, bodies echoed byte for byte, nothing held at the end, and for decisions that do not
 * depend on how the bytes came, the same answers however they came.
 */
import { fromBinary } from '@bufbuild/protobuf'
import { BodyMode } from '../../src/extproc/modes.ts'
import { ExtProcService } from '../../src/extproc/service.ts'
import { ProcessingResponseSchema } from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { GrpcStatus, type ServerStream, StreamEnd, type StreamHandler } from '../../src/grpc/transport.ts'
import { messageBytes, randomShape } from './ext-proc-bytes.ts'
import type { MessageShape } from './ext-proc-bytes.ts'
import { FuzzDecider } from './fuzz-decider.ts'
import type { DeciderPlan } from './fuzz-decider.ts'
import { judgeAnswers } from './judge-answers.ts'
import type { Answer, AskedFor } from './judge-answers.ts'
import { mutate, split } from './random.ts'
import type { Random } from './random.ts'
import { count, expectSame, Finding } from './target.ts'
import type { FuzzTarget } from './target.ts'

const KIND = {
  requestHeaders: 2,
  responseHeaders: 3,
  requestBody: 4,
  responseBody: 5,
  requestTrailers: 6,
  responseTrailers: 7,
} as const

class Stream implements ServerStream {
  readonly sent: Buffer[] = []
  ended: GrpcStatus | undefined
  readonly pendingBytes = 0

  send(bytes: Uint8Array): void {
    if (this.ended !== undefined) throw new Finding('sent after the end')
    this.sent.push(Buffer.from(bytes))
  }

  end(status: GrpcStatus): void {
    if (this.ended !== undefined) throw new Finding('ended twice')
    this.ended = status
  }

  grant(bytes: number): void {
    if (bytes <= 0) throw new Finding(`granted ${bytes}`)
  }
}

/** What is sent to one exchange. */
interface Transcript extends AskedFor {
  readonly messages: readonly Buffer[]
  /** Before which message a deferred decision comes. */
  readonly resumesAt: number
  readonly resets: boolean
  /** As Envoy would: in order, nothing broken. */
  readonly isOrderly: boolean
}

export class ExchangeTarget implements FuzzTarget {
  readonly name = 'exchange'
  readonly unit = 'messages'
  readonly seen = new Map<string, number>()
  #error: unknown

  play(random: Random): number {
    const plan = randomPlan(random)
    const isOrderly = !random.oneIn(4)
    const transcript = isOrderly ? orderly(random, plan) : disorderly(random)
    let whole: readonly string[] = []
    let inParts = whole
    try {
      whole = this.#exchange(transcript, plan, undefined)
      inParts = this.#exchange(transcript, plan, random)
    } catch (error) {
      const { messages, body, responseBody, ...about } = transcript
      const lengths = `${messages.map(({ length }) => length).join('+')}, bodies ${body.length} and ${responseBody.length}`
      const note = `${JSON.stringify(plan)} ${JSON.stringify(about)} messages ${lengths}`
      throw new Finding(`${(error as Error).message}\n  ${note}`, { cause: error })
    }
    // A cap is noticed where it is crossed.
    if (isOrderly && plan.at !== 'bytes' && transcript.body.length <= plan.maxBodyBytes)
      expectSame(`other answers in parts (${JSON.stringify(plan)})`, inParts, whole, Buffer.concat(transcript.messages))
    return 2 * transcript.messages.length
  }

  #exchange(transcript: Transcript, plan: DeciderPlan, parts: Random | undefined): readonly string[] {
    this.#error = undefined
    const decider = new FuzzDecider(plan)
    const service = new ExtProcService({
      decider: () => decider,
      retainsParts: false,
      now: () => 0,
      defaultBodyMode: BodyMode.NONE,
      maxChunkBytes: 1000,
      onError: error => (this.#error = error),
    })
    const stream = new Stream()
    const handler = service.open(stream, {})
    try {
      for (const [at, message] of transcript.messages.entries()) {
        if (at === transcript.resumesAt) decider.resume()
        send(handler, message, parts)
      }
      decider.resume()
      const hadEnded = stream.ended !== undefined
      if (!transcript.resets && !hadEnded) handler.closed(StreamEnd.HALF_CLOSED)
      handler.closed(StreamEnd.RESET)
    } finally {
      service.close()
    }
    if (this.#error !== undefined) throw this.#error
    if (service.openExchanges > 0 || service.heldBytes > 0)
      throw new Finding(`${service.openExchanges} exchanges and ${service.heldBytes} bytes are left`)
    if (!decider.closedOnce) throw new Finding('the decider was not told of the end')
    const answers = readAnswers(Buffer.concat(stream.sent))
    if (transcript.isOrderly) judgeAnswers(answers, stream.ended, transcript, plan)
    const words = answers.map(({ word, bytes }) => (bytes === undefined ? word : `${word} ${bytes.toString('latin1')}`))
    const status = stream.ended === undefined ? 'open' : String(stream.ended)
    count(this.seen, `${transcript.isOrderly ? 'orderly' : 'disorderly'}, status ${status}`)
    const joined = joinChunks(answers, words)
    // An OK close lets go of messages that are not answered; how many of them were complete depends on the parts.
    while (status === String(GrpcStatus.OK) && joined.at(-1) === 'request body') joined.pop()
    return [...joined, status]
  }
}

function send(handler: StreamHandler, message: Buffer, parts: Random | undefined): void {
  if (parts === undefined || message.length === 0) return handler.data(Buffer.from(message), 0)
  let at = 0
  for (const part of split(message, parts)) {
    at += part.length
    // Lent: used again as soon as the call is over.
    const lent = Buffer.from(part)
    handler.data(lent, message.length - at)
    lent.fill(0xee)
  }
}

function randomPlan(random: Random): DeciderPlan {
  return {
    at: random.pick(['headers', 'deferred', 'bytes', 'end']),
    bytes: random.below(3000),
    immediate: random.oneIn(8),
    followsResponse: random.oneIn(2),
    mayRewrite: random.oneIn(4),
    retryBufferBytes: random.pick([0, 0, 1000]),
    maxBodyBytes: random.pick([1_000_000, 1_000_000, 500]),
  }
}

/** A request and its response, in a mode that the plan of a route would choose. */
function orderly(random: Random, plan: DeciderPlan): Transcript {
  const { FULL_DUPLEX_STREAMED, STREAMED, BUFFERED, NONE } = BodyMode
  const [requestMode, look] = random.pick([
    [FULL_DUPLEX_STREAMED, false],
    [STREAMED, true],
    [BUFFERED, false],
    [NONE, false],
  ] as const)
  const responseMode = plan.followsResponse ? random.pick([FULL_DUPLEX_STREAMED, STREAMED, NONE]) : NONE
  const shapes: MessageShape[] = []
  const chunks = requestMode === NONE || random.oneIn(6) ? [] : randomChunks(random, requestMode === BUFFERED ? 1 : 6)
  const body = Buffer.concat(chunks)
  const trailers = requestMode !== NONE && random.oneIn(4)
  const length = random.oneIn(2) && chunks.length > 0 ? [['content-length', String(body.length)] as const] : []
  const seesBody = requestMode !== NONE
  shapes.push({
    kind: KIND.requestHeaders,
    headers: [[':method', 'POST'], [':path', '/'], ...length],
    endOfStream: seesBody ? chunks.length === 0 && !trailers : random.oneIn(2),
    modes: [requestMode, responseMode, look],
  })
  for (const [at, chunk] of chunks.entries())
    shapes.push({ kind: KIND.requestBody, body: chunk, endOfStream: !trailers && at === chunks.length - 1 })
  if (trailers) shapes.push({ kind: KIND.requestTrailers, headers: [['x', '1']] })
  const requestMessages = shapes.length
  const answer = responseMode === NONE ? [] : randomChunks(random, 5)
  const responseEnds = responseMode === NONE ? random.oneIn(2) : answer.length === 0
  if (plan.followsResponse) {
    shapes.push({ kind: KIND.responseHeaders, headers: [[':status', '200']], endOfStream: responseEnds })
    for (const [at, chunk] of answer.entries())
      shapes.push({ kind: KIND.responseBody, body: chunk, endOfStream: at === answer.length - 1 })
  }
  return {
    messages: shapes.map(shape => messageBytes(shape, random, true)),
    requestMode,
    responseMode,
    body,
    trailers,
    bodyMessages: chunks.length,
    responseBody: Buffer.concat(answer),
    responseBodyMessages: answer.length,
    // After the request and before the response, which comes only when the request was decided.
    resumesAt: 1 + random.below(requestMessages),
    resets: random.oneIn(3),
    isOrderly: true,
  }
}

function randomChunks(random: Random, most: number): Buffer[] {
  return Array.from({ length: 1 + random.below(most) }, () => random.bytes(random.length(3000)))
}

function disorderly(random: Random): Transcript {
  const messages = Array.from({ length: 1 + random.below(8) }, () => {
    const bytes = messageBytes(randomShape(random), random)
    return random.oneIn(4) ? mutate(bytes, random) : bytes
  })
  return {
    messages,
    requestMode: BodyMode.NONE,
    responseMode: BodyMode.NONE,
    body: Buffer.alloc(0),
    trailers: false,
    bodyMessages: 0,
    responseBody: Buffer.alloc(0),
    responseBodyMessages: 0,
    resumesAt: random.below(messages.length + 1),
    resets: random.oneIn(2),
    isOrderly: false,
  }
}

function readAnswers(bytes: Buffer): readonly Answer[] {
  const answers: Answer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = at + 5 <= bytes.length ? bytes.readUInt32BE(at + 1) : -1
    if (length < 0 || bytes[at] !== 0 || at + 5 + length > bytes.length) throw new Finding('broken gRPC framing')
    const { response, modeOverride, overrideMessageTimeout } = fromBinary(
      ProcessingResponseSchema,
      bytes.subarray(at + 5, at + 5 + length),
    )
    at += 5 + length
    if (response.case === undefined) {
      answers.push({ word: modeOverride ? 'mode' : overrideMessageTimeout ? 'timeout' : 'nothing' })
    } else if (response.case === 'requestBody' || response.case === 'responseBody') {
      const common = response.value.response
      const mutation = common?.bodyMutation?.mutation
      const side = response.case === 'requestBody' ? 'request' : 'response'
      if (mutation?.case === 'streamedResponse') {
        answers.push({
          word: `${side} chunk`,
          bytes: Buffer.from(mutation.value.body),
          ends: mutation.value.endOfStream,
        })
      } else if (mutation?.case === 'body') answers.push({ word: `${side} body`, bytes: Buffer.from(mutation.value) })
      else answers.push({ word: `${side} body` })
    } else answers.push({ word: response.case })
  }
  return answers
}

/** How an echoed body is cut is free. */
function joinChunks(answers: readonly Answer[], words: readonly string[]): string[] {
  const joined: string[] = []
  let open = ''
  for (const [at, { word, bytes, ends }] of answers.entries()) {
    if (!word.endsWith('chunk')) {
      joined.push(words[at]!)
      open = ''
      continue
    }
    const text = bytes!.toString('latin1')
    if (open === word) joined[joined.length - 1] += text
    else joined.push(`${word} ${text}`)
    open = word
    if (ends === true) {
      joined[joined.length - 1] += ' (end)'
      open = ''
    }
  }
  return joined
}
