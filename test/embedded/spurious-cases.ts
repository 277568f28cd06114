/** Answers that don't fit (envoy-1.40-measured.md §1–§3, §5). */
import type { JsonObject } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import { sendHttp1 } from '../support/http-client.ts'
import { type CallScript } from './scripted-processor.ts'
import {
  afterBody,
  answers,
  bodyAnswer,
  BUFFERED,
  chunk,
  continueHeaders,
  DUPLEX,
  emptyBody,
  HEADERS,
  LOOK,
  NOWAIT,
  responseHeaders,
  trailersAnswer,
  world,
} from './world.ts'

export function spuriousCases(): void {
  describe('spurious answers', () => {
    it.each<[string, JsonObject, CallScript, string]>([
      [
        'a body answer before the headers answer (look)',
        { processingMode: LOOK, ...NOWAIT },
        afterBody(emptyBody),
        'spurious',
      ],
      [
        'a body answer before the headers answer (duplex)',
        { processingMode: DUPLEX },
        afterBody(chunk('x', true)),
        'spurious',
      ],
      [
        'a second headers answer',
        { processingMode: LOOK, ...NOWAIT },
        afterBody(continueHeaders(), continueHeaders()),
        'spurious',
      ],
      [
        'response headers before they were asked',
        { processingMode: LOOK, ...NOWAIT },
        afterBody(responseHeaders),
        'spurious',
      ],
      [
        'a response body answer before it was asked',
        { processingMode: LOOK, ...NOWAIT },
        afterBody({ response: { case: 'responseBody', value: {} } }),
        'spurious',
      ],
      ['trailers that nobody asked about', { processingMode: LOOK, ...NOWAIT }, afterBody(trailersAnswer), 'spurious'],
      ['an empty answer', { processingMode: HEADERS }, answers({}), 'spurious'],
      [
        'a streamed answer in STREAMED',
        { processingMode: LOOK, ...NOWAIT },
        afterBody(continueHeaders(), chunk('x', true)),
        'spurious',
      ],
      [
        'a plain body in full duplex',
        { processingMode: DUPLEX },
        afterBody(continueHeaders(), bodyAnswer('x')),
        'spurious',
      ],
      [
        'a body answer while headers only are sent',
        { processingMode: { ...HEADERS, responseHeaderMode: 'SEND' } },
        answers(emptyBody),
        'spurious',
      ],
      [
        'an immediate response where it is disabled',
        { processingMode: HEADERS, disableImmediateResponse: true },
        answers({ response: { case: 'immediateResponse', value: { status: { code: 403 } } } }),
        'spurious',
      ],
      [
        'a streamed response in BUFFERED',
        { processingMode: BUFFERED },
        answers({
          response: {
            case: 'streamedImmediateResponse',
            value: {
              response: {
                case: 'headersResponse',
                value: { headers: { headers: [{ key: ':status', rawValue: Buffer.from('200') }] } },
              },
            },
          },
        }),
        'any',
      ],
    ])('%s', async (_name, extProc, script, kind) => {
      const { port, u1, counts } = await world(script, extProc)
      const response = await sendHttp1({ port, body: 'abc' })
      expect(response.status).toBe(500)
      expect(u1.requests.filter(request => request.complete)).toEqual([])
      if (kind === 'spurious') await counts('spurious_msgs_received', 1)
    })

    it.each(['a', 'aa'])('more answers than chunks: the request was complete (%s)', async body => {
      const { port, u1 } = await world(
        async call => {
          await call.next()
          for (;;) {
            const { request } = (await call.next()) ?? {}
            if (request?.case !== 'requestBody') return
            if (request.value.endOfStream) break
            call.send(continueHeaders(), emptyBody)
          }
          call.send(emptyBody, emptyBody, emptyBody)
          await call.over
        },
        { processingMode: { ...LOOK, responseHeaderMode: 'SEND' }, ...NOWAIT },
      )
      u1.script(() => ({ delayMs: 200 }))
      const response = await sendHttp1({ port, body })
      expect(response.status).toBe(500)
    })

    it('two ends of stream in full duplex', async () => {
      const { port, u1, counts } = await world(afterBody(continueHeaders(), chunk('x', true), chunk('y', true)), {
        processingMode: { ...DUPLEX, responseHeaderMode: 'SEND' },
      })
      u1.script(() => ({ delayMs: 300 }))
      expect((await sendHttp1({ port, body: 'abc' })).status).toBe(500)
      await counts('spurious_msgs_received', 1)
    })

    it('pass when the filter may fail open, with the body intact', async () => {
      const { port, u1, counts } = await world(afterBody(emptyBody), {
        processingMode: LOOK,
        ...NOWAIT,
        failureModeAllow: true,
      })
      expect((await sendHttp1({ port, body: 'abcdef', writeBytes: 2 })).status).toBe(200)
      expect((await u1.completed()).body.bytes?.toString()).toBe('abcdef')
      await counts('failure_mode_allowed', 1)
      await counts('spurious_msgs_received', 1)
    })
  })
}
