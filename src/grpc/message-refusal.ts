import { CutResult } from './message-cutter.ts'
import { GrpcStatus } from './transport.ts'

/** How a stream ends whose messages cannot be taken. */
export interface MessageRefusal {
  readonly status: GrpcStatus
  readonly message: string
  /** The client is to be told which encodings are accepted: none. */
  readonly refusesEncoding: boolean
}

/** `result`: more than `STOPPED`. `peerEncodes`: the request's `grpc-encoding` names a compression. */
export function refusalOf(result: CutResult, maxMessageBytes: number, peerEncodes: boolean): MessageRefusal {
  if (result === CutResult.TOO_LARGE)
    return refusal(GrpcStatus.RESOURCE_EXHAUSTED, `message is longer than ${maxMessageBytes} bytes`)
  if (result === CutResult.BAD_FLAG) return refusal(GrpcStatus.INTERNAL, 'unknown flags in a message prefix')
  return peerEncodes
    ? refusal(GrpcStatus.UNIMPLEMENTED, 'compressed messages are not accepted', true)
    : refusal(GrpcStatus.INTERNAL, 'message is compressed but grpc-encoding names no compression')
}

function refusal(status: GrpcStatus, message: string, refusesEncoding = false): MessageRefusal {
  return { status, message, refusesEncoding }
}
