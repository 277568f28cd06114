import { isGrpc } from '../grpc-content-type.ts'
import { parseGrpcTimeout } from '../grpc-timeout.ts'
import { GrpcStatus } from '../transport.ts'
import type { StreamHandler, StreamHeaders, StreamService } from '../transport.ts'
import { trailersOnlyBlock } from './answer-blocks.ts'
import { encodeHeaders } from './hpack/encode-headers.ts'

/** What becomes of a request: a call of a service, or an answer that refuses it. */
export interface Call {
  readonly service: StreamService
  readonly deadlineMs?: number | undefined
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

/** The answers that gRPC asks for when a request is none of ours, or the call that it is. */
export function openCall(headers: StreamHeaders, services: ReadonlyMap<string, StreamService>): Call {
  const path = headers[':path'] as string
  if (!isGrpc(headers['content-type'])) {
    const call = { service: NO_SERVICE, refusal: NOT_GRPC }
    return headers[':method'] === 'HEAD' ? call : { ...call, text: TEXT }
  }
  if (headers[':method'] !== 'POST') return { service: NO_SERVICE, refusal: NOT_POST }
  const service = services.get(path)
  if (service === undefined)
    return {
      service: NO_SERVICE,
      refusal: trailersOnlyBlock(GrpcStatus.UNIMPLEMENTED, `unknown method ${path}`, false),
    }
  const timeout = headers['grpc-timeout']
  if (timeout === undefined) return callOf(service)
  const deadlineMs = parseGrpcTimeout(timeout as string)
  if (deadlineMs === undefined)
    return { service: NO_SERVICE, refusal: trailersOnlyBlock(GrpcStatus.INTERNAL, 'malformed grpc-timeout', false) }
  return { service, deadlineMs }
}

const plainCalls = new WeakMap<StreamService, Call>()

/** One record for all calls without a deadline. */
function callOf(service: StreamService): Call {
  let call = plainCalls.get(service)
  if (call === undefined) {
    call = { service }
    plainCalls.set(service, call)
  }
  return call
}
