import { encodeMessage } from '../response-headers.ts'
import type { GrpcStatus } from '../transport.ts'
import { encodeHeaders } from './hpack/encode-headers.ts'

/** Header blocks of our answers (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses), most of them constants. */

const HEAD = [':status', '200', 'content-type', 'application/grpc'] as const

/** Head of an answer that carries messages. */
export const ANSWER_HEAD = encodeHeaders(HEAD)

const bareTrailers: (Uint8Array | undefined)[] = []

export function trailersBlock(status: GrpcStatus, message: string | undefined): Uint8Array {
  if (message !== undefined && message !== '') return encodeHeaders(statusFields(status, message))
  let block = bareTrailers[status]
  if (block === undefined) {
    block = encodeHeaders(statusFields(status, undefined))
    bareTrailers[status] = block
  }
  return block
}

/** An answer that is an end. `refusesEncoding` tells the client what to leave out the next time. */
export function trailersOnlyBlock(
  status: GrpcStatus,
  message: string | undefined,
  refusesEncoding: boolean,
): Uint8Array {
  return encodeHeaders([
    ...HEAD,
    ...statusFields(status, message),
    ...(refusesEncoding ? ['grpc-accept-encoding', 'identity'] : []),
  ])
}

function statusFields(status: GrpcStatus, message: string | undefined): string[] {
  const fields = ['grpc-status', String(status)]
  if (message !== undefined && message !== '') fields.push('grpc-message', encodeMessage(message))
  return fields
}
