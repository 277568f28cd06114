/**
 * The hand decoder of ext_proc messages: random and mutated ones, differentially against protobuf-es, whole and in parts.
 */
import { fromBinary } from '@bufbuild/protobuf'
import { decodeRequest, IncomingMessage } from '../../src/extproc/decode-request.ts'
import { MessageReader, PartResult } from '../../src/extproc/message-reader.ts'
import {
  type ProcessingRequest,
  ProcessingRequestSchema,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { messageBytes, randomShape } from './ext-proc-bytes.ts'
import { isAmbiguous } from './ambiguous-message.ts'
import { mutate, split } from './random.ts'
import type { Random } from './random.ts'
import { count, expectSame, Finding } from './target.ts'
import type { FuzzTarget } from './target.ts'

/** What a decoder saw, in one shape. */
interface Seen {
  readonly kind: number
  readonly endOfStream: boolean
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
  readonly observability: boolean
  readonly modes: readonly [number, number, boolean] | undefined
}

const KINDS: Readonly<Record<string, number>> = {
  requestHeaders: 2,
  responseHeaders: 3,
  requestBody: 4,
  responseBody: 5,
  requestTrailers: 6,
  responseTrailers: 7,
}

export class ExtProcTarget implements FuzzTarget {
  readonly name = 'ext-proc'
  readonly unit = 'messages'
  readonly seen = new Map<string, number>()
  readonly #message = new IncomingMessage()

  play(random: Random): number {
    const written = messageBytes(randomShape(random), random)
    const isMutated = random.oneIn(2)
    const bytes = isMutated ? mutate(written, random) : written
    const ours = this.#whole(bytes)
    const theirs = byEs(bytes)
    if (ours !== undefined && theirs !== undefined) {
      if (!isMutated || !isAmbiguous(bytes)) expectSame('decoders differ', ours, theirs, bytes)
      count(this.seen, isMutated ? 'mutated, read' : 'read')
    } else if (theirs !== undefined && (!isMutated || !isAmbiguous(bytes))) {
      throw new Finding(`refused what protobuf-es reads\n  input  ${bytes.toString('hex')}`)
    } else count(this.seen, ours === undefined ? 'refused' : 'read, protobuf-es refuses')
    this.#inParts(bytes, ours, isMutated, random)
    return 1
  }

  #whole(bytes: Buffer): Seen | undefined {
    const m = this.#message
    return decodeRequest(bytes, 0, bytes.length, m) ? seenByHand(m, '') : undefined
  }

  /** The same in parts must be the same; of mutated ones only that they end. */
  #inParts(bytes: Buffer, whole: Seen | undefined, isMutated: boolean, random: Random): void {
    const reader = new MessageReader()
    const m = this.#message
    let body = ''
    let at = 0
    let kind = 0
    let result: PartResult = PartResult.MORE
    for (const lent of split(bytes, random)) {
      // Lent parts are used again: nothing may point into them later.
      const part = Buffer.from(lent)
      at += part.length
      result = reader.part(part, bytes.length - at, m)
      if (result === PartResult.PIECE) {
        kind = reader.bodyKind
        body += part.toString('latin1', reader.pieceStart, reader.pieceEnd)
        if (reader.pieceStart > reader.pieceEnd || reader.pieceEnd > part.length)
          throw new Finding(`a piece outside of its part\n  input  ${bytes.toString('hex')}`)
        result = reader.finish(bytes.length - at, m)
      }
      if (result === PartResult.MESSAGE && at < bytes.length)
        throw new Finding(`a message before its end\n  input  ${bytes.toString('hex')}`)
      if (result !== PartResult.MORE) {
        if (result === PartResult.MESSAGE && kind === 0) body = ''
        const seen = result === PartResult.MESSAGE ? seenByHand(m, body) : undefined
        if (!isMutated || (seen !== undefined && whole !== undefined && !isAmbiguous(bytes)))
          expectSame('in parts it is another message', seen, whole, bytes)
        part.fill(0xee)
        return
      }
      part.fill(0xee)
    }
    if (bytes.length > 0) throw new Finding(`no end (${result})\n  input  ${bytes.toString('hex')}`)
  }
}

/** `pieces`: of the body, that went by before. */
function seenByHand(m: IncomingMessage, pieces: string): Seen {
  const headers: [string, string][] = []
  const withHeaders = m.kind === 2 || m.kind === 3 || m.kind >= 6
  if (withHeaders) for (let i = 0; i < m.headers.count; i++) headers.push([m.headers.name(i), m.headers.value(i)])
  return {
    kind: m.kind,
    endOfStream: m.endOfStream,
    headers,
    body: m.kind === 4 || m.kind === 5 ? pieces + m.bytes!.toString('latin1', m.bodyStart, m.bodyEnd) : '',
    observability: m.observability,
    modes: m.hasProtocolConfig ? [m.requestBodyMode, m.responseBodyMode, m.withoutWaiting] : undefined,
  }
}

function byEs(bytes: Buffer): Seen | undefined {
  let m: ProcessingRequest
  try {
    m = fromBinary(ProcessingRequestSchema, bytes)
  } catch {
    return undefined
  }
  const { request, protocolConfig: config } = m
  const map =
    request.case === 'requestHeaders' || request.case === 'responseHeaders'
      ? request.value.headers
      : request.case === 'requestTrailers' || request.case === 'responseTrailers'
        ? request.value.trailers
        : undefined
  return {
    kind: request.case === undefined ? 0 : KINDS[request.case]!,
    endOfStream: request.value !== undefined && 'endOfStream' in request.value && request.value.endOfStream,
    headers: (map?.headers ?? []).map(({ key, value, rawValue }) => [
      key,
      rawValue.length > 0 ? latin1(rawValue) : value,
    ]),
    body: request.case === 'requestBody' || request.case === 'responseBody' ? latin1(request.value.body) : '',
    observability: m.observabilityMode,
    modes: config && [config.requestBodyMode, config.responseBodyMode, config.sendBodyWithoutWaitingForHeaderResponse],
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}
