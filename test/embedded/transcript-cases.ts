/** The transcripts T1–T12 of envoy-xds-istio.md §1.5 as corrected by envoy-1.40-measured.md. */
import { describe, expect, it } from '@jest/globals'
import { sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { CommonResponse_ResponseStatus as Status } from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { headerOf, setHeaders } from './scripted-processor.ts'
import { chunk, CLOSED, continueHeaders, DUPLEX, emptyBody, LOOK, soon, world } from './world.ts'

export function transcriptCases(): void {
  describe.each([
    ['HTTP/1.1', sendHttp1],
    ['HTTP/2', sendHttp2],
  ] as const)('ext_proc with a %s client', (_name, send) => {
    it('T2: headers decide, one message, the route is chosen again', async () => {
      const { u2, port, processor, counts } = await world(
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
      await counts('streams_closed', 1)
    })

    it.each([
      [1, undefined],
      [7, undefined],
      [10_000, undefined],
      [10_000, 'chunked'],
    ] as const)('look: headers held until a body of %d bytes decided, then closed with OK', async (size, framing) => {
      const body = 'm2'.repeat(size)
      const { u2, port, counts } = await world(
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
      await counts('server_half_closed', 1)
      await counts('spurious_msgs_received', 0)
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
      const { u1, port, counts } = await world(
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
      await counts('immediate_responses_sent', 1)
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
      const { port, u1, stat } = await world(
        async call => {
          await call.next()
          call.send(continueHeaders())
          await call.over
          over = true
        },
        { processingMode: { ...CLOSED, requestHeaderMode: 'SEND', responseHeaderMode: 'SEND' } },
      )
      u1.script(() => ({ silent: true }))
      const abortWhen = () => soon(async () => u1.requests.length === 1)
      await expect(send({ port, body: 'x'.repeat(10_000), abortAfterBytes: 5000, abortWhen })).rejects.toThrow()
      await soon(async () => over && u1.requests[0]?.aborted === true && (await stat('downstream_rq_active')) === 0)
    })
  })
}
