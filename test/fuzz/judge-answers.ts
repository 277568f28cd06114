/** What Envoy would accept as answers to the messages of one request and its response. */
import { BodyMode } from '../../src/extproc/modes.ts'
import { GrpcStatus } from '../../src/grpc/transport.ts'
import { EDIT } from './fuzz-decider.ts'
import type { DeciderPlan } from './fuzz-decider.ts'
import { Finding } from './target.ts'

export interface Answer {
  /** The case of the answer; `request chunk` and `response chunk` for streamed ones. */
  readonly word: string
  /** Of a body that is sent back. */
  readonly bytes?: Buffer
  readonly ends?: boolean
}

/** What was sent. */
export interface AskedFor {
  readonly requestMode: BodyMode
  readonly responseMode: BodyMode
  readonly body: Buffer
  readonly trailers: boolean
  readonly bodyMessages: number
  readonly responseBody: Buffer
  readonly responseBodyMessages: number
}

export function judgeAnswers(
  answers: readonly Answer[],
  status: GrpcStatus | undefined,
  asked: AskedFor,
  plan: DeciderPlan,
): void {
  const times = (word: string): number => answers.filter(answer => answer.word === word).length
  const most = (word: string, allowed: number): void => {
    if (times(word) > allowed) throw new Finding(`${times(word)} × ${word}, ${allowed} allowed: ${words()}`)
  }
  const words = (): string =>
    answers
      .map(
        ({ word, bytes, ends }) =>
          `${word}${bytes === undefined ? '' : `[${bytes.length}]`}${ends === true ? ' end' : ''}`,
      )
      .join(', ')
  most('nothing', 0)
  most('requestHeaders', 1)
  most('requestTrailers', asked.trailers ? 1 : 0)
  most('responseHeaders', plan.followsResponse ? 1 : 0)
  most('immediateResponse', 1)
  const fullDuplex = asked.requestMode === BodyMode.FULL_DUPLEX_STREAMED
  most('request body', fullDuplex ? 0 : asked.bodyMessages)
  most('response body', asked.responseMode === BodyMode.FULL_DUPLEX_STREAMED ? 0 : asked.responseBodyMessages)
  if (!fullDuplex) most('request chunk', 0)
  const order = ['requestHeaders', 'request body', 'request chunk', 'requestTrailers'].map(word =>
    answers.findIndex(answer => answer.word === word),
  )
  if (
    (order[0] === -1 && (order[1]! >= 0 || order[2]! >= 0)) ||
    (order[0]! > 0 && order.slice(1).some(at => at >= 0 && at < order[0]!))
  )
    throw new Finding(`headers are answered first: ${words()}`)
  const immediateAt = answers.findIndex(({ word }) => word === 'immediateResponse')
  if (immediateAt >= 0 && answers.slice(immediateAt + 1).some(({ word }) => word.startsWith('request')))
    throw new Finding(`behind an immediate answer: ${words()}`)
  if (immediateAt < 0 && order[0] === -1 && status === GrpcStatus.OK)
    throw new Finding(`an OK close without a decision: ${words()}`)
  if (immediateAt >= 0 || plan.immediate) return
  judgeEcho(
    'request',
    answers,
    plan.mayRewrite ? edited(asked.body) : asked.body,
    fullDuplex && asked.bodyMessages > 0 && !asked.trailers,
    fullDuplex,
    words,
  )
  if (plan.followsResponse && status !== undefined && status !== GrpcStatus.OK) return
  judgeEcho(
    'response',
    answers,
    asked.responseBody,
    false,
    asked.responseMode === BodyMode.FULL_DUPLEX_STREAMED && asked.responseBodyMessages > 0,
    words,
  )
}

/** A whole body comes back, byte for byte, and its end exactly once. */
function judgeEcho(
  side: 'request' | 'response',
  answers: readonly Answer[],
  body: Buffer,
  ends: boolean,
  applies: boolean,
  words: () => string,
): void {
  const chunks = answers.filter(({ word }) => word === `${side} chunk`)
  if (!applies) return
  const echoed = Buffer.concat(chunks.map(({ bytes }) => bytes!))
  if (!echoed.equals(body)) throw new Finding(`${side}: ${echoed.length} bytes came back of ${body.length}: ${words()}`)
  const endings = chunks.filter(chunk => chunk.ends === true).length
  if (side === 'request' ? endings !== (ends ? 1 : 0) : endings > 1)
    throw new Finding(`${side}: ${endings} ends: ${words()}`)
  if (endings === 1 && chunks.at(-1)!.ends !== true) throw new Finding(`${side}: something behind the end: ${words()}`)
}

function edited(body: Buffer): Buffer {
  return body.length < EDIT.end
    ? body
    : Buffer.concat([body.subarray(0, EDIT.start), EDIT.bytes, body.subarray(EDIT.end)])
}
