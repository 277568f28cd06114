/** One HTTP/2 connection of the load generator, playing whole exchanges as a gateway does. */
import { fromBinary } from '@bufbuild/protobuf'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import {
  type HeaderMutation,
  type ProcessingResponse,
  ProcessingResponseSchema,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'

export interface Exchange {
  readonly body: Buffer
  /** Framed messages of the request side, headers first. */
  readonly request: readonly Uint8Array[]
  /** Framed messages of the response side; empty = none is sent. */
  readonly responses: readonly Uint8Array[]
  /** Each response chunk waits for the answer to the one before. */
  readonly lockstep: boolean
  /** The server may end the stream as soon as it has answered the headers. */
  readonly look: boolean
}

export interface Expectations {
  /** The destination endpoint must come in the header and, equal, in the metadata. */
  readonly pick: boolean
  /** A header mutation that must come, with its value; an empty name = none. */
  readonly header: readonly [string, string?]
  /** The request body must come back byte for byte (full duplex only). */
  readonly verifyBody: boolean
}

const DESTINATION = 'x-gateway-destination-endpoint'

export class ExtProcConnection {
  readonly #session: ClientHttp2Session
  readonly #authority: string
  readonly #expect: Expectations

  constructor(address: string, expect: Expectations) {
    this.#authority = address
    this.#expect = expect
    this.#session = connect(`http://${address}`, {
      settings: { initialWindowSize: 1 << 24, enablePush: false },
      // MB. Node 24 goes on counting what a stream that the server ends early had still to send, and at the limit refuses all streams.
      maxSessionMemory: 1_000_000,
    })
    this.#session.on('error', () => {})
  }

  close(): void {
    this.#session.destroy()
  }

  /** Plays one exchange. Returns the number of response chunks. @throws Error when an answer is not as it should be */
  async play(exchange: Exchange): Promise<number> {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': '/envoy.service.ext_proc.v3.ExternalProcessor/Process',
      ':authority': this.#authority,
      te: 'trailers',
      'content-type': 'application/grpc',
    })
    const answers = new Answers(stream)
    let good = false
    try {
      for (const message of exchange.request) stream.write(message)
      const closed = await this.#requestSide(exchange, answers)
      const chunks = closed || exchange.responses.length === 0 ? 0 : await this.#responseSide(exchange, answers, stream)
      // Like extprocload: finish, and see the server finish. (Envoy resets; servers on node's defaults take that for an attack.)
      stream.end()
      const extra = await answers.next()
      if (extra !== undefined) throw new Error(`${extra.response.case ?? 'an empty message'} after the last answer`)
      good = true
      return chunks
    } finally {
      if (!good) stream.close(constants.NGHTTP2_CANCEL)
    }
  }

  /** True when the server ended the stream after its decision. */
  async #requestSide(exchange: Exchange, answers: Answers): Promise<boolean> {
    const echoed: Uint8Array[] = []
    let decided = false
    let ended = false
    let empty = 0
    while (!decided || !ended) {
      const answer = await answers.next()
      if (answer === undefined) {
        if (decided && exchange.look) return true
        throw new Error('the stream was closed in the request phase')
      }
      const { response } = answer
      if (response.case === 'requestHeaders') {
        decided = true
        this.#checkDecision(response.value.response?.headerMutation, answer)
      } else if (response.case === 'requestBody') {
        const mutation = response.value.response?.bodyMutation?.mutation
        if (mutation?.case === 'streamedResponse') {
          echoed.push(mutation.value.body)
          ended ||= mutation.value.endOfStream
        } else if (++empty === exchange.request.length - 1) ended = true
      } else {
        throw new Error(`unexpected ${String(response.case)} in the request phase`)
      }
    }
    if (this.#expect.verifyBody && !exchange.look && !Buffer.concat(echoed).equals(exchange.body))
      throw new Error('the echoed body differs')
    return false
  }

  #checkDecision(mutation: HeaderMutation | undefined, { dynamicMetadata }: ProcessingResponse): void {
    const set = new Map<string, string>()
    for (const { header } of mutation?.setHeaders ?? []) {
      if (header !== undefined) set.set(header.key.toLowerCase(), Buffer.from(header.rawValue).toString())
    }
    const picked = set.get(DESTINATION)
    const lb = dynamicMetadata?.['envoy.lb'] as { readonly [key: string]: unknown } | undefined
    if (this.#expect.pick && (picked === undefined || picked !== lb?.[DESTINATION]))
      throw new Error('no endpoint was picked')
    const [name, value] = this.#expect.header
    if (name !== '' && set.get(name) !== value) throw new Error(`no header ${name}=${value}`)
  }

  async #responseSide(exchange: Exchange, answers: Answers, stream: ClientHttp2Stream): Promise<number> {
    const { responses, lockstep } = exchange
    const chunks = responses.length - 1
    stream.write(responses[0])
    if (!lockstep) for (const message of responses.slice(1)) stream.write(message)
    await answers.expect('responseHeaders')
    if (chunks === 0) return 0
    const steps = lockstep ? chunks : 0
    for (let i = 1; i <= steps; i++) {
      stream.write(responses[i])
      if (i < chunks) await answers.expect('responseBody')
    }
    // What arrives in parts may be returned in parts: only the end tells how many answers there are.
    let last = await answers.expect('responseBody')
    while (!endsBody(last)) last = await answers.expect('responseBody')
    return lockstep ? chunks : 0
  }
}

function endsBody({ response }: ProcessingResponse): boolean {
  if (response.case !== 'responseBody') return false
  const mutation = response.value.response?.bodyMutation?.mutation
  return mutation?.case === 'streamedResponse' && mutation.value.endOfStream
}

/** The answers on one stream, in order. */
class Answers {
  #pending: Buffer = Buffer.alloc(0)
  #over = false
  #wake: (() => void) | undefined

  constructor(stream: ClientHttp2Stream) {
    stream.on('data', (part: Buffer) => {
      this.#pending = this.#pending.length === 0 ? part : Buffer.concat([this.#pending, part])
      this.#wake?.()
    })
    const end = (): void => {
      this.#over = true
      this.#wake?.()
    }
    stream.on('end', end).on('close', end).on('error', end)
  }

  /** The next answer; undefined = the stream is over. */
  async next(): Promise<ProcessingResponse | undefined> {
    for (;;) {
      const pending = this.#pending
      if (pending.length >= 5) {
        const end = 5 + pending.readUInt32BE(1)
        if (pending.length >= end) {
          this.#pending = pending.subarray(end)
          return fromBinary(ProcessingResponseSchema, pending.subarray(5, end))
        }
      }
      if (this.#over) return undefined
      await new Promise<void>(resolve => (this.#wake = resolve))
    }
  }

  async expect(kind: 'responseHeaders' | 'responseBody'): Promise<ProcessingResponse> {
    const answer = await this.next()
    if (answer?.response.case !== kind) throw new Error(`${answer?.response.case ?? 'an end'} instead of ${kind}`)
    return answer
  }
}
