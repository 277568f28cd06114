/** Hand encoder of the answers of our own in `ProcessingResponse`: each function appends one length-prefixed gRPC message. */
import type { Decision } from './decision.ts'
import { writeHeader, writeSetHeaders } from './encode-headers.ts'
import { writeMetadata } from './encode-metadata.ts'
import type { WireWriter } from './wire.ts'

/** Field numbers in `ProcessingResponse`. */
const IMMEDIATE = 7
const STREAMED_IMMEDIATE = 11

/** `immediate_response`. The status is always set: unset would become 200. */
export function writeImmediate(out: WireWriter, decision: Decision): void {
  out.beginMessage()
  out.open(IMMEDIATE)
  out.open(1)
  out.uint(1, decision.immediateStatus)
  out.close()
  if (decision.setNames.length > 0) {
    out.open(2)
    writeSetHeaders(out, decision)
    out.close()
  }
  if (decision.immediateBody !== undefined && decision.immediateBody.length > 0) out.bytes(3, decision.immediateBody)
  if (decision.immediateGrpcStatus >= 0) {
    out.open(4)
    if (decision.immediateGrpcStatus > 0) out.uint(1, decision.immediateGrpcStatus)
    out.close()
  }
  if (decision.immediateDetails !== '') out.text(5, decision.immediateDetails)
  out.close()
  writeMetadata(out, decision)
  out.endMessage()
}

/** The head of a streamed immediate response: `:status` and headers; chunks follow with `writeStreamedImmediateBody`. */
export function writeStreamedImmediateHeaders(out: WireWriter, decision: Decision): void {
  out.beginMessage()
  out.open(STREAMED_IMMEDIATE)
  out.open(1)
  out.open(1)
  writeHeader(out, 1, ':status', String(decision.immediateStatus))
  for (let i = 0; i < decision.setNames.length; i++) writeHeader(out, 1, decision.setNames[i]!, decision.setValues[i]!)
  out.close()
  out.close()
  out.close()
  writeMetadata(out, decision)
  out.endMessage()
}

export function writeStreamedImmediateBody(
  out: WireWriter,
  body: Uint8Array,
  start: number,
  end: number,
  last: boolean,
): void {
  out.beginMessage()
  out.open(STREAMED_IMMEDIATE)
  out.open(2)
  out.bytes(1, body, start, end)
  if (last) out.uint(2, 1)
  out.close()
  out.close()
  out.endMessage()
}
