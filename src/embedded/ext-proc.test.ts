import { afterEach, describe, expect, it } from '@jest/globals'
import type { JsonObject } from '@bufbuild/protobuf'
import { type ClientResponse, sendHttp1, sendHttp2 } from '../../test/support/http-client.ts'
import { type RecordingBackend, startRecordingBackend } from '../../test/support/recording-backend.ts'
import { CommonResponse_ResponseStatus as Status } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import type { EmbeddedDataPlane } from './embedded.ts'
import {
  type Answer,
  type CallScript,
  headerOf,
  OVERRIDE_HOST,
  type PlaneOptions,
  portOf,
  type ScriptedProcessor,
  setHeaders,
  startPlane,
  startScriptedProcessor,
} from './test-support.ts'

const open: { close(graceMs: number): unknown }[] = []
afterEach(async () => {
  for (const item of open.splice(0).toReversed()) await item.close(0)
})

interface World {
  readonly u1: RecordingBackend
  readonly u2: RecordingBackend
  readonly processor: ScriptedProcessor
  readonly proxy: EmbeddedDataPlane
  readonly port: number
  stat(name: string): number
}

const CLOSED = {
  requestHeaderMode: 'SKIP',
  responseHeaderMode: 'SKIP',
  requestTrailerMode: 'SKIP',
  responseTrailerMode: 'SKIP',
}
const LOOK = { ...CLOSED, requestHeaderMode: 'SEND', requestBodyMode: 'STREAMED' }
const DUPLEX = {
  ...CLOSED,
  requestHeaderMode: 'SEND',
  requestBodyMode: 'FULL_DUPLEX_STREAMED',
  requestTrailerMode: 'SEND',
}
const RECEIVING = {
  metadataOptions: {
    receivingNamespaces: { untyped: ['envoy.lb', 'signalbox'] },
    forwardingNamespaces: { untyped: ['envoy.lb'] },
  },
}

async function world(script: CallScript, extProc: JsonObject, options: Partial<PlaneOptions> = {}): Promise<World> {
  const u1 = await startRecordingBackend({ name: 'u1' })
  const u2 = await startRecordingBackend({ name: 'u2' })
  const processor = await startScriptedProcessor(script)
  const proxy = await startPlane({
    backends: { u1: [u1.port], u2: [u2.port] },
    extProc,
    extProcPort: processor.port,
    ...options,
  })
  open.push(u1, u2, processor, proxy)
  const stat = (name: string): number => proxy.stats()[`http.test.ext_proc.${name}`] ?? 0
  return { u1, u2, processor, proxy, port: portOf(proxy), stat }
}

const continueHeaders = (set: Record<string, string> = {}): Answer => ({
  response: {
    case: 'requestHeaders',
    value: { response: { headerMutation: { setHeaders: setHeaders(set) }, clearRouteCache: true } },
  },
})
const emptyBody: Answer = { response: { case: 'requestBody', value: {} } }
const chunk = (body: Uint8Array | string, endOfStream: boolean): Answer => ({
  response: {
    case: 'requestBody',
    value: {
      response: {
        bodyMutation: { mutation: { case: 'streamedResponse', value: { body: Buffer.from(body), endOfStream } } },
      },
    },
  },
})
const responseHeaders: Answer = { response: { case: 'responseHeaders', value: {} } }

describe.each([
  ['HTTP/1.1', sendHttp1],
  ['HTTP/2', sendHttp2],
] as const)('ext_proc with a %s client', (_name, send) => {
  it('T2: headers decide, one message, the route is chosen again', async () => {
    const { u2, port, processor, stat } = await world(
      async call => {
        const message = await call.next()
        expect(message?.protocolConfig).toMatchObject({ requestBodyMode: 0, responseBodyMode: 0 })
        expect(headerOf(message, ':path')).toBe('/chat')
        call.send(continueHeaders({ 'x-gateway-model-name': 'm2' }))
        await call.over
      },
      { processingMode: { ...CLOSED, requestHeaderMode: 'SEND' } },
    )
    const response = await send({ port, path: '/chat' })
    expect(response.body.toString()).toBe('{"backend":"u2"}')
    expect((await u2.completed()).headers['x-gateway-model-name']).toBe('m2')
    expect(processor.streams).toEqual([['requestHeaders(end)']])
    expect(stat('streams_closed')).toBe(1)
  })

  it.each([
    [1, undefined],
    [7, undefined],
    [10_000, undefined],
    [10_000, 'chunked'],
  ] as const)('look: headers held until a body of %d bytes decided, then closed with OK', async (size, framing) => {
    const body = 'm2'.repeat(size)
    const { u2, port, stat } = await world(
      async call => {
        await call.next()
        await call.next()
        call.send(continueHeaders({ 'x-gateway-model-name': 'm2' }))
        call.end()
        await call.over
      },
      { processingMode: LOOK, sendBodyWithoutWaitingForHeaderResponse: true, allowContentLengthHeader: true },
    )
    const response = await send({
      port,
      body,
      writeBytes: size < 100 ? 1 : 999,
      ...(framing === undefined ? {} : { framing }),
    })
    expect(response.status).toBe(200)
    const seen = await u2.completed()
    expect(seen.body.bytes?.toString()).toBe(body)
    expect(seen.headers['content-length']).toBe(framing === undefined ? String(body.length) : undefined)
    expect(stat('server_half_closed')).toBe(1)
    expect(stat('spurious_msgs_received')).toBe(0)
  })

  it('look: one empty answer a chunk; request trailers come without an end of stream', async () => {
    const { u1, port, processor } = await world(
      async call => {
        await call.next()
        const first = await call.next()
        expect(first?.request.case).toBe('requestBody')
        call.send(continueHeaders(), emptyBody)
        for (;;) {
          const next = await call.next()
          if (next === undefined) return
          call.send(emptyBody)
        }
      },
      { processingMode: LOOK, sendBodyWithoutWaitingForHeaderResponse: true },
    )
    const response = await send({ port, body: 'x'.repeat(5000), writeBytes: 1000, trailers: { 'x-t': '1' } })
    expect(response.status).toBe(200)
    const seen = await u1.completed()
    expect(seen.body.length).toBe(5000)
    expect(seen.trailers).toEqual({ 'x-t': '1' })
    expect(seen.headers['content-length']).toBeUndefined()
    expect(processor.streams[0]?.some(text => text.includes('end'))).toBe(false)
  })

  it('T1: full duplex, headers answered after the body, chunks cut anew', async () => {
    const { u2, port } = await world(
      async call => {
        await call.next()
        const parts: Uint8Array[] = []
        for (;;) {
          const { request } = (await call.next()) ?? {}
          if (request?.case !== 'requestBody') return
          parts.push(request.value.body)
          if (request.value.endOfStream) break
        }
        const whole = Buffer.concat(parts)
        call.send(
          continueHeaders({ 'x-gateway-model-name': 'm2' }),
          chunk(whole.subarray(0, 10), false),
          chunk(whole.subarray(10), true),
        )
        await call.over
      },
      { processingMode: DUPLEX },
    )
    const body = 'y'.repeat(100_000)
    expect((await send({ port, body })).status).toBe(200)
    const seen = await u2.completed()
    expect(seen.body.bytes?.toString()).toBe(body)
    expect(seen.headers['content-length']).toBeUndefined()
  })

  it('T3: full duplex with trailers', async () => {
    const { u1, port, processor } = await world(
      async call => {
        for (;;) {
          const { request } = (await call.next()) ?? {}
          if (request?.case === 'requestHeaders') call.send(continueHeaders())
          else if (request?.case === 'requestBody') call.send(chunk(request.value.body, false))
          else if (request?.case === 'requestTrailers')
            call.send({
              response: {
                case: 'requestTrailers',
                value: { headerMutation: { setHeaders: setHeaders({ 'x-added': '2' }) } },
              },
            })
          else return
        }
      },
      { processingMode: DUPLEX },
    )
    expect((await send({ port, body: 'abc', trailers: { 'x-t': '1' } })).status).toBe(200)
    const seen = await u1.completed()
    expect(seen.body.bytes?.toString()).toBe('abc')
    expect(seen.trailers).toEqual({ 'x-t': '1', 'x-added': '2' })
    expect(processor.streams[0]).toEqual(['requestHeaders', 'requestBody(3)', 'requestTrailers'])
  })

  it.each([true, false])(
    'T4/T5: buffered, the body changes together with content-length (trailers: %s)',
    async trailers => {
      const { u2, port, processor } = await world(
        async call => {
          await call.next()
          call.send(continueHeaders())
          const { request } = (await call.next()) ?? {}
          expect(request).toMatchObject({ case: 'requestBody', value: { endOfStream: !trailers } })
          const body = Buffer.from('changed!')
          call.send({
            response: {
              case: 'requestBody',
              value: {
                response: {
                  headerMutation: { setHeaders: setHeaders({ 'content-length': '8', 'x-gateway-model-name': 'm2' }) },
                  bodyMutation: { mutation: { case: 'body', value: body } },
                  clearRouteCache: true,
                },
              },
            },
          })
          await call.over
        },
        { processingMode: { ...CLOSED, requestHeaderMode: 'SEND', requestBodyMode: 'BUFFERED' } },
      )
      const response = await send({
        port,
        body: '0123456789',
        writeBytes: 3,
        ...(trailers ? { trailers: { a: 'b' } } : {}),
      })
      expect(response.status).toBe(200)
      const seen = await u2.completed()
      expect(seen.body.bytes?.toString()).toBe('changed!')
      expect(processor.streams[0]?.length).toBe(2)
    },
  )

  it('T6: streamed, answers one for one, a chunk replaced', async () => {
    const { u1, port } = await world(
      async call => {
        await call.next()
        call.send(continueHeaders())
        for (let first = true; ; first = false) {
          const { request } = (await call.next()) ?? {}
          if (request?.case !== 'requestBody') return
          call.send(
            first
              ? {
                  response: {
                    case: 'requestBody',
                    value: { response: { bodyMutation: { mutation: { case: 'body', value: Buffer.from('NEW') } } } },
                  },
                }
              : emptyBody,
          )
        }
      },
      { processingMode: { ...LOOK } },
    )
    expect((await send({ port, body: 'aaaabbbb', writeBytes: 4, gapMs: 20 })).status).toBe(200)
    expect((await u1.completed()).body.bytes?.toString()).toMatch(/^NEW(bbbb)?$/)
  })

  it('T7: an immediate response at any time before the upstream answered', async () => {
    const { u1, port, stat } = await world(
      async call => {
        await call.next()
        await call.next()
        call.send({
          response: {
            case: 'immediateResponse',
            value: {
              status: { code: 429 },
              body: Buffer.from('{"e":1}'),
              headers: { setHeaders: setHeaders({ 'content-type': 'application/json', 'retry-after': '3' }) },
              details: 'too_many',
            },
          },
        })
        await call.over
      },
      { processingMode: LOOK, sendBodyWithoutWaitingForHeaderResponse: true },
    )
    const response = await send({ port, body: 'x'.repeat(300_000) })
    expect(response).toMatchObject({
      status: 429,
      headers: { 'content-type': 'application/json', 'retry-after': '3', 'content-length': '7' },
    })
    expect(response.body.toString()).toBe('{"e":1}')
    expect(u1.requests.length).toBe(0)
    expect(stat('immediate_responses_sent')).toBe(1)
  })

  it.each(['NONE', 'FULL_DUPLEX_STREAMED'])('T8: CONTINUE_AND_REPLACE on headers (%s)', async requestBodyMode => {
    const { u1, port } = await world(
      async call => {
        await call.next()
        call.send({
          response: {
            case: 'requestHeaders',
            value: {
              response: {
                status: Status.CONTINUE_AND_REPLACE,
                headerMutation: { setHeaders: setHeaders({ ':method': 'PUT' }) },
                bodyMutation: { mutation: { case: 'body', value: Buffer.from('replaced') } },
              },
            },
          },
        })
        await call.over
      },
      { processingMode: { ...CLOSED, requestHeaderMode: 'SEND', requestBodyMode, requestTrailerMode: 'SEND' } },
    )
    expect((await send({ port, body: 'original'.repeat(1000) })).status).toBe(200)
    const seen = await u1.completed()
    expect(seen.method).toBe('PUT')
    expect(seen.body.bytes?.toString()).toBe('replaced')
  })

  it('T9: a client that goes away ends the stream and the upstream request', async () => {
    let over = false
    const { port, u1, proxy } = await world(
      async call => {
        await call.next()
        call.send(continueHeaders())
        await call.over
        over = true
      },
      { processingMode: { ...CLOSED, requestHeaderMode: 'SEND', responseHeaderMode: 'SEND' } },
    )
    u1.script(() => ({ silent: true }))
    await expect(send({ port, body: 'x'.repeat(10_000), abortAfterBytes: 5000 })).rejects.toThrow()
    await expectSoon(
      () => over && u1.requests[0]?.aborted === true && proxy.stats()['http.test.downstream_rq_active'] === 0,
    )
  })

  it('T10: response only; the response is changed', async () => {
    const { port, processor } = await world(
      async call => {
        const message = await call.next()
        expect(message?.attributes).toEqual({})
        expect(headerOf(message, ':status')).toBe('200')
        call.send({
          response: {
            case: 'responseHeaders',
            value: {
              response: {
                headerMutation: { setHeaders: setHeaders({ 'x-seen': 'yes' }), removeHeaders: ['content-type'] },
              },
            },
          },
        })
        await call.over
      },
      { processingMode: { ...CLOSED, responseHeaderMode: 'SEND' }, requestAttributes: ['request.path'] },
    )
    const response = await send({ port, body: 'abc' })
    expect(response.headers['x-seen']).toBe('yes')
    expect(response.headers['content-type']).toBeUndefined()
    expect(processor.streams).toEqual([['responseHeaders']])
  })

  it('T11: observability, nothing waits', async () => {
    const { port, processor, u1 } = await world(
      async call => {
        expect((await call.next())?.protocolConfig).toBeUndefined()
        await call.over
      },
      {
        observabilityMode: true,
        deferredCloseTimeout: '0.01s',
        processingMode: { requestBodyMode: 'STREAMED', responseBodyMode: 'STREAMED' },
      },
    )
    expect((await send({ port, body: 'abc' })).status).toBe(200)
    expect((await u1.completed()).headers['content-length']).toBe('3')
    await expectSoon(() => processor.streams[0]?.includes('responseHeaders') === true)
  })

  it('T12: a local reply of the proxy passes the response side', async () => {
    const { port, processor } = await world(
      async call => {
        await call.next()
        call.send(continueHeaders())
        const message = await call.next()
        expect(headerOf(message, ':status')).toBe('503')
        call.send(responseHeaders)
        await call.over
      },
      { processingMode: { ...CLOSED, requestHeaderMode: 'SEND', responseHeaderMode: 'SEND' } },
      { backends: { u1: [] } },
    )
    const response = await send({ port })
    expect(response.status).toBe(503)
    expect(response.body.toString()).toBe('no healthy upstream')
    expect(processor.streams).toEqual([['requestHeaders(end)', 'responseHeaders']])
  })

  it('response side in full duplex: chunks are withheld and cut anew', async () => {
    const { port, u1 } = await world(
      async call => {
        for (;;) {
          const { request } = (await call.next()) ?? {}
          if (request?.case === 'responseHeaders') call.send(responseHeaders)
          else if (request?.case === 'responseBody')
            call.send({
              response: {
                case: 'responseBody',
                value: {
                  response: {
                    bodyMutation: {
                      mutation: {
                        case: 'streamedResponse',
                        value: {
                          body: Buffer.from(Buffer.from(request.value.body).toString().toUpperCase()),
                          endOfStream: request.value.endOfStream,
                        },
                      },
                    },
                  },
                },
              },
            })
          else if (request?.case === 'responseTrailers')
            call.send({ response: { case: 'responseTrailers', value: {} } })
          else return
        }
      },
      {
        processingMode: {
          ...CLOSED,
          responseHeaderMode: 'SEND',
          responseBodyMode: 'FULL_DUPLEX_STREAMED',
          responseTrailerMode: 'SEND',
        },
      },
    )
    u1.script(() => ({ chunks: ['ab', 'cd', 'ef'], gapMs: 5 }))
    const plain = await send({ port })
    expect(plain.body.toString()).toBe('ABCDEF')
    u1.script(() => ({ chunks: ['ab', 'cd'], trailers: { 'x-t': '1' } }))
    const response: ClientResponse = await send({ port })
    expect(response.body.toString()).toBe('ABCD')
    expect(response.trailers).toEqual({ 'x-t': '1' })
  })
})

describe('endpoint choice', () => {
  it('takes the listed endpoints in order, retries with the body, tells the served one, and is strict', async () => {
    const other = await startRecordingBackend({ name: 'other' })
    open.push(other)
    let list = ''
    const lines: string[] = []
    const { u1, port, stat } = await world(
      async call => {
        await call.next()
        await call.next()
        call.send({
          ...continueHeaders(),
          dynamicMetadata: {
            'envoy.lb': { 'x-gateway-destination-endpoint': list },
            signalbox: { model: 'big' },
            other: { a: 1 },
          },
        })
        call.send(emptyBody)
        for (;;) {
          const message = await call.next()
          if (message === undefined) return
          if (message.request.case === 'responseHeaders') {
            expect(message.metadataContext?.filterMetadata['envoy.lb']).toMatchObject({
              served: `127.0.0.1:${other.port}`,
            })
            call.send(responseHeaders)
          } else call.send(emptyBody)
        }
      },
      {
        processingMode: { ...LOOK, responseHeaderMode: 'SEND' },
        sendBodyWithoutWaitingForHeaderResponse: true,
        ...RECEIVING,
      },
      {
        backends: { u1: [1, other.port] },
        cluster: OVERRIDE_HOST,
        accessLog: line => lines.push(line),
        routes: [
          {
            match: { prefix: '/' },
            route: {
              cluster: 'u1',
              retryPolicy: {
                retryOn: 'connect-failure,retriable-status-codes',
                retriableStatusCodes: [503],
                numRetries: 3,
              },
            },
          },
        ],
      },
    )
    list = `127.0.0.1:9, garbage,127.0.0.1:1,127.0.0.1:${other.port}`
    const body = 'z'.repeat(50_000)
    expect((await sendHttp1({ port, path: '/x?secret', body })).status).toBe(200)
    expect((await other.completed()).body.bytes?.toString()).toBe(body)
    expect(u1.requests.length).toBe(0)
    expect(stat('spurious_msgs_received')).toBe(0)
    await expectSoon(() => lines.length === 1)
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      status: 200,
      details: 'via_upstream',
      model: 'big',
      path: '/x',
      upstream: `127.0.0.1:${other.port}`,
      attempts: 2,
    })
  })

  it('answers 503 when nothing is listed', async () => {
    const { port } = await world(
      async call => {
        await call.next()
        call.send(continueHeaders())
        await call.over
      },
      { processingMode: { ...CLOSED, requestHeaderMode: 'SEND' }, ...RECEIVING },
      { cluster: OVERRIDE_HOST },
    )
    const response = await sendHttp1({ port, headers: { 'x-gateway-destination-endpoint': '127.0.0.1:1' } })
    expect(response.status).toBe(503)
  })
})

async function expectSoon(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i++) await new Promise(resolve => setTimeout(resolve, 10))
  expect(holds()).toBe(true)
}
