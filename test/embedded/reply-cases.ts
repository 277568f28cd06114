/** Responses that the processor makes or changes. */
import { describe, expect, it } from '@jest/globals'
import { sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { CommonResponse_ResponseStatus as Status } from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { type Answer } from './scripted-processor.ts'
import { answers, CLOSED, HEADERS, responseHeaders, world } from './world.ts'

export function replyCases(): void {
  describe('responses of the processor', () => {
    it('streams one itself, with its own pace and trailers', async () => {
      const part = (
        response: NonNullable<
          Extract<NonNullable<Answer['response']>, { case: 'streamedImmediateResponse' }>['value']['response']
        >,
      ): Answer => ({ response: { case: 'streamedImmediateResponse', value: { response } } })
      const { port, u1 } = await world(
        async call => {
          await call.next()
          call.send(
            part({
              case: 'headersResponse',
              value: {
                headers: {
                  headers: [
                    { key: ':status', rawValue: Buffer.from('200') },
                    { key: 'x-from', rawValue: Buffer.from('us') },
                  ],
                },
              },
            }),
          )
          call.send(part({ case: 'bodyResponse', value: { body: Buffer.from('one ') } }))
          await new Promise(resolve => setTimeout(resolve, 20))
          call.send(part({ case: 'bodyResponse', value: { body: Buffer.from('two'), endOfStream: true } }))
          await call.over
        },
        { processingMode: HEADERS },
      )
      const response = await sendHttp2({ port, body: 'abc' })
      expect(response.headers['x-from']).toBe('us')
      expect(response.body.toString()).toBe('one two')
      expect(u1.requests.length).toBe(0)
    })

    it('immediate in place of the upstream response', async () => {
      const { port } = await world(
        answers({ response: { case: 'immediateResponse', value: { status: { code: 403 }, body: Buffer.from('no') } } }),
        { processingMode: { ...CLOSED, responseHeaderMode: 'SEND' } },
      )
      const response = await sendHttp1({ port })
      expect(response.status).toBe(403)
      expect(response.body.toString()).toBe('no')
    })

    it('an immediate response after response headers have left cuts the client off', async () => {
      const { port, u1 } = await world(
        async call => {
          await call.next()
          call.send(responseHeaders)
          await call.next()
          call.send({ response: { case: 'responseBody', value: {} } })
          await call.next()
          call.send({ response: { case: 'immediateResponse', value: { status: { code: 403 } } } })
          await call.over
        },
        { processingMode: { ...CLOSED, responseHeaderMode: 'SEND', responseBodyMode: 'STREAMED' } },
      )
      u1.script(() => ({ chunks: ['a', 'b', 'c', 'd'], gapMs: 50 }))
      await expect(sendHttp1({ port })).rejects.toThrow()
    })

    it('replaces headers and body of the response', async () => {
      const { port } = await world(
        answers({
          response: {
            case: 'responseHeaders',
            value: {
              response: {
                status: Status.CONTINUE_AND_REPLACE,
                bodyMutation: { mutation: { case: 'body', value: Buffer.from('other') } },
              },
            },
          },
        }),
        { processingMode: { ...CLOSED, responseHeaderMode: 'SEND' } },
      )
      const response = await sendHttp1({ port })
      expect(response.status).toBe(200)
      expect(response.body.toString()).toBe('other')
    })
  })
}
