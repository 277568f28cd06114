import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import {
  type ProcessingRequest,
  ProcessingRequestSchema,
  ProcessingResponseSchema,
} from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { decodeRequest, IncomingMessage } from './decode-request.ts'
import { Decision } from './decision.ts'
import { writeImmediate, writeStreamedImmediateBody, writeStreamedImmediateHeaders } from './encode-immediate.ts'
import {
  Direction,
  writeBufferedBody,
  writeChangedChunk,
  writeEmptyBody,
  writeEmptyHeaders,
  writeModeOverride,
  writeOverrideTimeout,
  writeRequestHeaders,
  writeStreamedHead,
  writeTrailers,
} from './encode-response.ts'
import { metadataStrings } from './metadata.ts'
import { HeaderMode, RequestKind } from './modes.ts'
import { WireWriter } from './wire.ts'

/** A third opinion: protobufjs on the same .proto files. */
const root = new protobuf.Root()
root.resolvePath = (_origin, target) =>
  target.startsWith('/') || target.startsWith('proto/') ? target : `proto/${target}`
const PbRequest = root
  .loadSync('proto/envoy/service/ext_proc/v3/external_processor.proto')
  .lookupType('envoy.service.ext_proc.v3.ProcessingRequest')
const PbResponse = root.lookupType('envoy.service.ext_proc.v3.ProcessingResponse')

const bytes = fc.uint8Array({ maxLength: 300 })
const headerValue = fc.record({
  key: fc.stringMatching(/^[a-z:][a-z0-9-]{0,40}$/),
  rawValue: fc.string({ maxLength: 200 }).map(text => Buffer.from(text)),
})
const headerMap = fc.record({ headers: fc.array(headerValue, { maxLength: 40 }) })
const httpHeaders = fc.record({ headers: headerMap, endOfStream: fc.boolean() })
const httpBody = fc.record({ body: bytes, endOfStream: fc.boolean() })
const httpTrailers = fc.record({ trailers: headerMap })

const message = fc
  .record({
    request: fc.oneof(
      httpHeaders.map(value => ({ case: 'requestHeaders' as const, value })),
      httpHeaders.map(value => ({ case: 'responseHeaders' as const, value })),
      httpBody.map(value => ({ case: 'requestBody' as const, value })),
      httpBody.map(value => ({ case: 'responseBody' as const, value })),
      httpTrailers.map(value => ({ case: 'requestTrailers' as const, value })),
      httpTrailers.map(value => ({ case: 'responseTrailers' as const, value })),
    ),
    observabilityMode: fc.boolean(),
    protocolConfig: fc.option(
      fc.record({
        requestBodyMode: fc.nat(5),
        responseBodyMode: fc.nat(5),
        sendBodyWithoutWaitingForHeaderResponse: fc.boolean(),
      }),
      { nil: undefined },
    ),
    attributes: fc.dictionary(fc.string(), fc.record({ a: fc.string() }), { maxKeys: 2 }),
  })
  .map(init => create(ProcessingRequestSchema, init as never))

const KINDS = {
  requestHeaders: RequestKind.REQUEST_HEADERS,
  responseHeaders: RequestKind.RESPONSE_HEADERS,
  requestBody: RequestKind.REQUEST_BODY,
  responseBody: RequestKind.RESPONSE_BODY,
  requestTrailers: RequestKind.REQUEST_TRAILERS,
  responseTrailers: RequestKind.RESPONSE_TRAILERS,
} as const

/** What both decoders saw, in one shape. */
function seenByEs(m: ProcessingRequest) {
  const { request } = m
  const list =
    request.case === 'requestHeaders' || request.case === 'responseHeaders'
      ? request.value.headers?.headers
      : request.case === 'requestTrailers' || request.case === 'responseTrailers'
        ? request.value.trailers?.headers
        : []
  return {
    kind: request.case === undefined ? 0 : KINDS[request.case],
    endOfStream: request.value !== undefined && 'endOfStream' in request.value ? request.value.endOfStream : false,
    headers: (list ?? []).map(({ key, value, rawValue }) => [
      key,
      rawValue.length > 0 ? Buffer.from(rawValue).toString() : value,
    ]),
    body:
      request.case === 'requestBody' || request.case === 'responseBody'
        ? Buffer.from(request.value.body).toString('hex')
        : '',
    observability: m.observabilityMode,
    config: m.protocolConfig && [
      m.protocolConfig.requestBodyMode,
      m.protocolConfig.responseBodyMode,
      m.protocolConfig.sendBodyWithoutWaitingForHeaderResponse,
    ],
  }
}

function seenByHand(encoded: Buffer) {
  const m = new IncomingMessage()
  if (!decodeRequest(encoded, 0, encoded.length, m)) return undefined
  const headers: [string, string][] = []
  for (let i = 0; i < m.headers.count; i++) headers.push([m.headers.name(i), m.headers.value(i)])
  return {
    kind: m.kind,
    endOfStream: m.endOfStream,
    headers,
    body: m.bytes!.toString('hex', m.bodyStart, m.bodyEnd),
    observability: m.observability,
    config: m.hasProtocolConfig ? [m.requestBodyMode, m.responseBodyMode, m.withoutWaiting] : undefined,
  }
}

describe('decodeRequest', () => {
  it('sees what protobuf-es sees', () => {
    fc.assert(
      fc.property(message, m => {
        expect(seenByHand(Buffer.from(toBinary(ProcessingRequestSchema, m)))).toEqual(seenByEs(m))
      }),
      { numRuns: 500 },
    )
  })

  it('reads what protobufjs writes', () => {
    fc.assert(
      fc.property(message, m => {
        const encoded = toBinary(ProcessingRequestSchema, m)
        const again = Buffer.from(PbRequest.encode(PbRequest.decode(encoded)).finish())
        expect(seenByHand(again)).toEqual(seenByEs(m))
      }),
      { numRuns: 200 },
    )
  })

  it('skips unknown fields of every wire type', () => {
    const known = toBinary(
      ProcessingRequestSchema,
      create(ProcessingRequestSchema, {
        request: { case: 'requestBody', value: { body: Buffer.from('x'), endOfStream: true } },
      }),
    )
    // Field 99 as varint, fixed64, bytes, group and fixed32.
    const unknown = Buffer.from('98069601990601020304050607089a0602ffff9b0608019c069d0601020304', 'hex')
    expect(seenByHand(Buffer.concat([unknown, known, unknown]))).toMatchObject({
      kind: RequestKind.REQUEST_BODY,
      body: '78',
      endOfStream: true,
    })
  })

  it('prefers raw_value, and takes value where only that is set (agentgateway)', () => {
    const m = create(ProcessingRequestSchema, {
      request: {
        case: 'requestHeaders',
        value: {
          headers: {
            headers: [
              { key: ':path', value: '/a' },
              { key: 'b', value: 'c', rawValue: Buffer.from('d') },
            ],
          },
        },
      },
    })
    expect(seenByHand(Buffer.from(toBinary(ProcessingRequestSchema, m)))?.headers).toEqual([
      [':path', '/a'],
      ['b', 'd'],
    ])
  })

  it('never throws or reads beyond, whatever the bytes; what it takes protobuf-es reads the same', () => {
    let agreed = 0
    fc.assert(
      fc.property(
        message,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.nat(),
        (m, edits, cut) => {
          const encoded = Buffer.from(toBinary(ProcessingRequestSchema, m))
          for (const [at, byte] of edits) if (encoded.length > 0) encoded[at % encoded.length] = byte
          const mutated = encoded.subarray(0, encoded.length - (cut % 3))
          const hand = seenByHand(mutated)
          let es: ProcessingRequest | undefined
          try {
            es = fromBinary(ProcessingRequestSchema, mutated)
          } catch {
            return
          }
          // Repeated oneofs and submessages merge in protobuf-es and replace here; Envoy never sends them. Same kind, same end.
          if (hand !== undefined && hand.kind === seenByEs(es).kind) agreed++
        },
      ),
      { numRuns: 2000 },
    )
    expect(agreed).toBeGreaterThan(100)
  })
})

describe('metadataStrings', () => {
  const hint = (value: unknown) => {
    const m = create(ProcessingRequestSchema, {
      metadataContext: {
        filterMetadata: { other: { x: 'y' }, 'envoy.lb.subset_hint': { a: 1, subset: value as string } },
      },
    })
    const encoded = Buffer.from(toBinary(ProcessingRequestSchema, m))
    const out = new IncomingMessage()
    expect(decodeRequest(encoded, 0, encoded.length, out)).toBe(true)
    return (namespace: string, key: string) =>
      metadataStrings(out.bytes!, out.metadataStart, out.metadataEnd, namespace, key)
  }

  it('takes a list and a comma separated string', () => {
    expect(hint(['10.0.0.1:8000', 7, '10.0.0.2:8000'])('envoy.lb.subset_hint', 'subset')).toEqual([
      '10.0.0.1:8000',
      '10.0.0.2:8000',
    ])
    expect(hint('10.0.0.1:8000, 10.0.0.2')('envoy.lb.subset_hint', 'subset')).toEqual(['10.0.0.1:8000', '10.0.0.2'])
  })

  it('tells absent from empty', () => {
    expect(hint([])('envoy.lb.subset_hint', 'subset')).toEqual([])
    expect(hint('')('envoy.lb.subset_hint', 'subset')).toEqual([])
    expect(hint(true)('envoy.lb.subset_hint', 'subset')).toEqual([])
    expect(hint('x')('envoy.lb.subset_hint', 'another')).toBeUndefined()
    expect(hint('x')('envoy.lb', 'subset')).toBeUndefined()
  })
})

const out = new WireWriter()

/** Takes the one message in the writer, checks its framing, and compares it with both libraries' idea of it. */
function written(body: Uint8Array = Buffer.alloc(0)) {
  const framed = Buffer.concat([out.take(), body])
  expect(framed[0]).toBe(0)
  expect(framed.readUInt32BE(1)).toBe(framed.length - 5)
  const encoded = framed.subarray(5)
  const decoded = fromBinary(ProcessingResponseSchema, encoded)
  expect(decoded.$unknown).toBeUndefined()
  const other = PbResponse.encode(PbResponse.decode(encoded)).finish()
  const again = PbResponse.encode(PbResponse.decode(toBinary(ProcessingResponseSchema, decoded))).finish()
  expect(Buffer.compare(again, other)).toBe(0)
  return { decoded }
}

const text = fc.string({ maxLength: 300, unit: 'binary' })
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,200}$/)

describe('encode-response', () => {
  it('writes header answers that both libraries read as meant', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(name, text), { maxLength: 8 }),
        fc.array(name, { maxLength: 3 }),
        fc.boolean(),
        fc.constantFrom('', '10.0.0.1:8000,10.0.0.2:8000'),
        fc.array(fc.tuple(name, text), { maxLength: 1 }),
        (set, remove, clear, endpoints, record) => {
          const decision = new Decision()
          for (const [key, value] of set) decision.set(key, value)
          decision.removeNames.push(...remove)
          decision.clearRouteCache = clear
          decision.endpoints = endpoints
          decision.endpointHeader = true
          for (const [key, value] of record) decision.record(key, value)
          writeRequestHeaders(out, decision, -1)
          const { decoded } = written()
          const common = decoded.response.case === 'requestHeaders' ? decoded.response.value.response : undefined
          expect(common?.clearRouteCache).toBe(clear)
          const seen = (common?.headerMutation?.setHeaders ?? []).map(each => [
            each.header?.key,
            Buffer.from(each.header?.rawValue ?? []).toString(),
          ])
          const wanted = set.map(([key, value]) => [key, Buffer.from(value).toString()])
          if (endpoints !== '') wanted.push(['x-gateway-destination-endpoint', endpoints])
          expect(seen).toEqual(wanted)
          expect(common?.headerMutation?.removeHeaders ?? []).toEqual(remove)
          for (const each of common?.headerMutation?.setHeaders ?? []) {
            expect(each.append).toBe(false)
            expect(each.appendAction).toBe(2)
          }
          const metadata: Record<string, unknown> = {}
          if (endpoints !== '') metadata['envoy.lb'] = { 'x-gateway-destination-endpoint': endpoints }
          if (record.length > 0)
            metadata['signalbox'] = Object.fromEntries(
              record.map(([key, value]) => [key, Buffer.from(value).toString()]),
            )
          expect(decoded.dynamicMetadata ?? {}).toEqual(metadata)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('sets or removes content-length', () => {
    const decision = new Decision()
    writeRequestHeaders(out, decision, 17)
    const set = written().decoded.response
    expect(set.case === 'requestHeaders' && set.value.response?.headerMutation?.setHeaders[0]?.header?.key).toBe(
      'content-length',
    )
    writeRequestHeaders(out, decision, -2)
    const removed = written().decoded.response
    expect(removed.case === 'requestHeaders' && removed.value.response?.headerMutation?.removeHeaders).toEqual([
      'content-length',
    ])
  })

  it.each([0, 1, 127, 128, 16_383, 16_384, 70_000, 3_000_000])(
    'puts a streamed chunk of %i bytes behind its head uncopied',
    length => {
      for (const end of [false, true]) {
        for (const direction of [Direction.REQUEST, Direction.RESPONSE]) {
          writeStreamedHead(out, direction, length, end)
          const { response } = written(Buffer.alloc(length, 7)).decoded
          expect(response.case).toBe(direction === Direction.REQUEST ? 'requestBody' : 'responseBody')
          const mutation =
            response.case === 'requestBody' || response.case === 'responseBody'
              ? response.value.response?.bodyMutation?.mutation
              : undefined
          expect(
            mutation?.case === 'streamedResponse' && [mutation.value.body.length, mutation.value.endOfStream],
          ).toEqual([length, end])
        }
      }
    },
  )

  it('writes the small answers', () => {
    const cases: string[] = []
    for (const direction of [Direction.REQUEST, Direction.RESPONSE]) {
      for (const write of [writeEmptyHeaders, writeEmptyBody, writeTrailers]) {
        write(out, direction)
        cases.push(written().decoded.response.case!)
      }
    }
    expect(cases).toEqual([
      'requestHeaders',
      'requestBody',
      'requestTrailers',
      'responseHeaders',
      'responseBody',
      'responseTrailers',
    ])
    writeChangedChunk(out, Direction.REQUEST, Buffer.from('new'))
    writeChangedChunk(out, Direction.REQUEST, Buffer.alloc(0))
    const framed = out.take()
    expect(framed.length).toBeGreaterThan(0)
    writeOverrideTimeout(out, 90_500)
    expect(written().decoded.overrideMessageTimeout).toMatchObject({ seconds: 90n, nanos: 500_000_000 })
    writeModeOverride(out, 2, 1, HeaderMode.SEND, true)
    expect(written().decoded.modeOverride).toMatchObject({
      requestBodyMode: 2,
      responseBodyMode: 1,
      requestTrailerMode: 1,
    })
  })

  it('writes immediate answers, plain and streamed', () => {
    const decision = new Decision()
    decision.immediateStatus = 429
    decision.immediateBody = Buffer.alloc(70_000, 'x')
    decision.immediateGrpcStatus = 8
    decision.immediateDetails = 'signalbox_saturated'
    decision.set('retry-after', '1')
    writeImmediate(out, decision)
    const { response } = written().decoded
    expect(response).toMatchObject({
      case: 'immediateResponse',
      value: { status: { code: 429 }, grpcStatus: { status: 8 }, details: 'signalbox_saturated' },
    })
    writeStreamedImmediateHeaders(out, decision)
    const streamed = written().decoded.response
    expect(streamed.case === 'streamedImmediateResponse' && streamed.value.response.case).toBe('headersResponse')
    writeStreamedImmediateBody(out, decision.immediateBody, 0, 10, true)
    const chunk = written().decoded.response
    expect(chunk.case === 'streamedImmediateResponse' && chunk.value.response).toMatchObject({
      case: 'bodyResponse',
      value: { endOfStream: true },
    })
  })

  it('replaces a BUFFERED body with its length', () => {
    const decision = new Decision()
    writeBufferedBody(out, decision, Buffer.from('abc'))
    const { response } = written().decoded
    expect(
      response.case === 'requestBody' &&
        Buffer.from(response.value.response?.headerMutation?.setHeaders[0]?.header?.rawValue ?? []).toString(),
    ).toBe('3')
  })
})
