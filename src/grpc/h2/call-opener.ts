import { isGrpc } from '../grpc-content-type.ts'
import { parseGrpcTimeout } from '../grpc-timeout.ts'
import { GrpcStatus } from '../transport.ts'
import type { StreamHandler, StreamHeaders, StreamService } from '../transport.ts'
import { trailersOnlyBlock } from './answer-blocks.ts'
import { encodeHeaders } from './hpack/encode-headers.ts'

/** What becomes of a request: a call of a service, or an answer that refuses it. */
export interface Call {
  readonly service: StreamService
  /** Header block of an answer that is an end. */
  readonly refusal?: Uint8Array
  /** Behind the refusal, for people who meet this port with a browser or curl. Without one the refusal is an end. */
  readonly text?: Uint8Array
}

/** The service of streams that were refused: it is never opened. */
const NO_SERVICE: StreamService = {
  path: '',
  maxMessageBytes: 0,
  open(): StreamHandler {
    throw new Error('a refused stream was opened')
  },
}

const TEXT = Buffer.from('This port speaks gRPC.\n')
const TEXT_FIELDS = ['content-type', 'text/plain', 'content-length', String(TEXT.length)] as const
const NOT_GRPC = encodeHeaders([':status', '415', ...TEXT_FIELDS])
const NOT_POST = encodeHeaders([':status', '405', 'allow', 'POST'])

const BAD_TIMEOUT: Call = {
  service: NO_SERVICE,
  refusal: trailersOnlyBlock(GrpcStatus.INTERNAL, 'malformed grpc-timeout', false),
}

/** What the requests of one connection ask for; one like the one before is not looked at again. */
export class CallOpener {
  /** Of the call opened last; undefined: it has none. */
  deadlineMs: number | undefined
  readonly #services: ReadonlyMap<string, StreamService>
  #headers: StreamHeaders | undefined
  #call: Call = { service: NO_SERVICE }

  constructor(services: ReadonlyMap<string, StreamService>) {
    this.#services = services
  }

  /** `timeout`: the request's `grpc-timeout`. */
  open(headers: StreamHeaders, timeout: string | undefined): Call {
    if (headers !== this.#headers) {
      this.#headers = headers
      this.#call = callOf(headers, this.#services)
    }
    const call = this.#call
    this.deadlineMs = undefined
    if (timeout === undefined || call.refusal !== undefined) return call
    this.deadlineMs = parseGrpcTimeout(timeout)
    return this.deadlineMs === undefined ? BAD_TIMEOUT : call
  }
}

/** The answers that gRPC asks for when a request is none of ours, or the call that it is. */
function callOf(headers: StreamHeaders, services: ReadonlyMap<string, StreamService>): Call {
  const path = headers[':path'] as string
  if (!isGrpc(headers['content-type'])) {
    const call = { service: NO_SERVICE, refusal: NOT_GRPC }
    return headers[':method'] === 'HEAD' ? call : { ...call, text: TEXT }
  }
  if (headers[':method'] !== 'POST') return { service: NO_SERVICE, refusal: NOT_POST }
  const service = services.get(path)
  if (service !== undefined) return { service }
  return { service: NO_SERVICE, refusal: trailersOnlyBlock(GrpcStatus.UNIMPLEMENTED, `unknown method ${path}`, false) }
}
