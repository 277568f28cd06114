/** Transcripts of the response side. */
import { describe, expect, it } from '@jest/globals'
import { type ClientResponse, sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { headerOf, setHeaders } from './scripted-processor.ts'
import { CLOSED, continueHeaders, responseHeaders, soon, world } from './world.ts'

export function responseCases(): void {
  describe.each([
    ['HTTP/1.1', sendHttp1],
    ['HTTP/2', sendHttp2],
  ] as const)('ext_proc on responses to a %s client', (_name, send) => {
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
      await soon(() => processor.streams[0]?.includes('responseHeaders') === true)
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
        { backends: { u1: [], u2: [] } },
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
}
