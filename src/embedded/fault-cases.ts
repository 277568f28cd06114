/** Failures and answers that don't fit (envoy-1.40-measured.md §1–§3, §5): status, details, counters, what the upstream saw. */
import { describe, expect, it } from '@jest/globals'
import { sendHttp1, sendHttp2 } from '../../test/support/http-client.ts'
import { CommonResponse_ResponseStatus as Status } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { type Answer, type CallScript, setHeaders } from './test-support.ts'
import { chunk, CLOSED, continueHeaders, DUPLEX, emptyBody, LOOK, responseHeaders, world } from './test-world.ts'

const HEADERS = { ...CLOSED, requestHeaderMode: 'SEND' }
const BUFFERED = { ...HEADERS, requestBodyMode: 'BUFFERED' }
const NOWAIT = { sendBodyWithoutWaitingForHeaderResponse: true }

/** Answers the first message with these, whatever it is. */
const answers =
  (...list: Answer[]): CallScript =>
  async call => {
    await call.next()
    call.send(...list)
    await call.over
  }

/** Waits for the body, then answers. */
const afterBody =
  (...list: Answer[]): CallScript =>
  async call => {
    await call.next()
    await call.next()
    call.send(...list)
    await call.over
  }

const bodyAnswer = (body: string): Answer => ({
  response: {
    case: 'requestBody',
    value: { response: { bodyMutation: { mutation: { case: 'body', value: Buffer.from(body) } } } },
  },
})
const trailersAnswer: Answer = { response: { case: 'requestTrailers', value: {} } }

export function faultCases(): void {
  describe('spurious answers', () => {
    it.each<[string, object, CallScript, string]>([
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
      const { port, u1, counts } = await world(script, extProc as never)
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

  describe('a processor that fails', () => {
    it.each([
      ['closed', { processingMode: LOOK, ...NOWAIT }, 500],
      ['closed, own status', { processingMode: LOOK, ...NOWAIT, statusOnError: { code: 'ServiceUnavailable' } }, 503],
      ['open, look', { processingMode: LOOK, ...NOWAIT, failureModeAllow: true }, 200],
      ['open, buffered', { processingMode: BUFFERED, failureModeAllow: true }, 200],
      ['open, duplex', { processingMode: DUPLEX, failureModeAllow: true }, 500],
    ])('UNAVAILABLE after the body came (%s)', async (_name, extProc, status) => {
      const { port, u1 } = await world(async call => {
        await call.next()
        const first = await Promise.race([call.next(), new Promise(resolve => setTimeout(resolve, 100))])
        if (first === undefined) {
          call.send(continueHeaders())
          await call.next()
        }
        call.end(14, 'going down')
      }, extProc as never)
      const response = await sendHttp1({ port, body: 'the body' })
      expect(response.status).toBe(status)
      if (status === 200) expect((await u1.completed()).body.bytes?.toString()).toBe('the body')
    })

    it.each([
      ['closed', { processingMode: LOOK, ...NOWAIT }, 500],
      ['open, look', { processingMode: LOOK, ...NOWAIT, failureModeAllow: true }, 200],
      ['open, buffered', { processingMode: BUFFERED, failureModeAllow: true }, 200],
      ['open, duplex', { processingMode: DUPLEX, failureModeAllow: true }, 500],
    ])('connection refused (%s)', async (_name, extProc, status) => {
      const { port, u1, counts, processor } = await world(async () => undefined, extProc as never)
      processor.close()
      const response = await sendHttp1({ port, body: 'the body' })
      expect(response.status).toBe(status)
      if (status === 200) expect((await u1.completed()).body.bytes?.toString()).toBe('the body')
      await counts('streams_failed', 1)
    })

    it.each([
      ['closed', false, 500],
      ['open', true, 200],
    ])('no endpoint at all (%s)', async (_name, failureModeAllow, status) => {
      const { port } = await world(
        async () => undefined,
        { processingMode: DUPLEX, failureModeAllow },
        { noProcessor: true },
      )
      expect((await sendHttp1({ port, body: 'the body' })).status).toBe(status)
    })

    it.each([
      ['closed', false, 504],
      ['open', true, 200],
    ])('silence beyond message_timeout (%s)', async (_name, failureModeAllow, status) => {
      const { port, counts } = await world(async call => call.over, {
        processingMode: LOOK,
        ...NOWAIT,
        failureModeAllow,
        messageTimeout: '0.1s',
        statusOnError: { code: 'ServiceUnavailable' },
      })
      expect((await sendHttp1({ port, body: 'the body' })).status).toBe(status)
      await counts('message_timeouts', 1)
    })

    it('override_message_timeout counts up to the maximum, once', async () => {
      const wait = (seconds: bigint): Answer => ({ overrideMessageTimeout: { seconds, nanos: 0 } })
      const { port, counts } = await world(
        async call => {
          await call.next()
          call.send(wait(60n), wait(5n), wait(1n))
          await new Promise(resolve => setTimeout(resolve, 400))
          call.send(continueHeaders())
          await call.over
        },
        { processingMode: HEADERS, messageTimeout: '0.2s', maxMessageTimeout: '10s' },
      )
      expect((await sendHttp1({ port })).status).toBe(200)
      await counts('override_message_timeout_received', 1)
      await counts('override_message_timeout_ignored', 2)
    })

    it('full duplex has no timer', async () => {
      const { port } = await world(
        async call => {
          await call.next()
          await new Promise(resolve => setTimeout(resolve, 300))
          call.send(continueHeaders())
          await call.over
        },
        { processingMode: DUPLEX, messageTimeout: '0.05s' },
      )
      expect((await sendHttp1({ port })).status).toBe(200)
    })
  })

  describe('OK before the end', () => {
    it('undecided: the request passes, fail-closed or not, with the body intact', async () => {
      const { port, u1, counts } = await world(
        async call => {
          await call.next()
          await call.next()
          call.end()
        },
        { processingMode: LOOK, ...NOWAIT },
      )
      const body = 'w'.repeat(500_000)
      expect((await sendHttp1({ port, body })).status).toBe(200)
      expect((await u1.completed()).body.bytes?.toString()).toBe(body)
      await counts('server_half_closed', 1)
    })

    it('full duplex: what the processor held is lost', async () => {
      const { port, u1 } = await world(
        async call => {
          for (;;) {
            const { request } = (await call.next()) ?? {}
            if (request?.case === 'requestBody' && request.value.endOfStream) break
          }
          call.end()
        },
        { processingMode: DUPLEX },
      )
      expect((await sendHttp1({ port, body: 'lost' })).status).toBe(200)
      expect((await u1.completed()).body.length).toBe(0)
    })
  })

  describe('header mutations', () => {
    const mutate = async (setHeaders: object[], removeHeaders: string[], extra: object = {}) =>
      world(
        answers({
          response: {
            case: 'requestHeaders',
            value: { response: { headerMutation: { setHeaders: setHeaders as never, removeHeaders } } },
          },
        }),
        { processingMode: HEADERS, ...extra },
      )

    it('raw values count, bare values are empty, host and x-envoy-* are skipped, the path changes', async () => {
      const { port, u1, counts } = await mutate(
        [
          ...setHeaders({ 'x-raw': 'é', ':path': '/new', ':authority': 'evil', 'x-envoy-y': '1' }),
          { header: { key: 'x-value', value: 'ignored' } },
        ],
        ['x-gone', ':method', 'host'],
      )
      expect((await sendHttp1({ port, path: '/old', headers: { 'x-gone': '1', 'x-value': 'before' } })).status).toBe(
        200,
      )
      const seen = await u1.completed()
      expect(seen.path).toBe('/new')
      expect(seen.method).toBe('GET')
      expect(seen.headers).toMatchObject({ 'x-raw': 'é', 'x-value': '', host: `127.0.0.1:${port}` })
      expect(seen.headers['x-gone']).toBeUndefined()
      expect(seen.headers['x-envoy-y']).toBeUndefined()
      await counts('rejected_header_mutations', 4)
    })

    it('an invalid character is an error', async () => {
      const { port } = await mutate(setHeaders({ 'x-a': 'b\nc' }), [])
      expect((await sendHttp1({ port })).status).toBe(500)
    })
  })

  describe('content-length', () => {
    it.each([
      ['look, kept', { processingMode: LOOK, ...NOWAIT, allowContentLengthHeader: true }, '3'],
      ['look, removed', { processingMode: LOOK, ...NOWAIT }, undefined],
    ])('%s', async (_name, extProc, expected) => {
      const { port, u1 } = await world(async call => {
        await call.next()
        await call.next()
        call.send(continueHeaders())
        call.end()
      }, extProc as never)
      await sendHttp1({ port, body: 'abc' })
      expect((await u1.completed()).headers['content-length']).toBe(expected)
    })

    it('set by the processor to the new length (look)', async () => {
      const { port, u1 } = await world(
        async call => {
          await call.next()
          let sent = false
          for (;;) {
            const { request } = (await call.next()) ?? {}
            if (request?.case !== 'requestBody') return
            if (sent) call.send(emptyBody)
            else call.send(continueHeaders({ 'content-length': '5' }), bodyAnswer('12345'))
            sent = true
          }
        },
        { processingMode: LOOK, ...NOWAIT, allowContentLengthHeader: true },
      )
      expect((await sendHttp1({ port, body: 'abc' })).status).toBe(200)
      const seen = await u1.completed()
      expect(seen.headers['content-length']).toBe('5')
      expect(seen.body.bytes?.toString()).toBe('12345')
    })

    it('a buffered body that changed without it is an error', async () => {
      const { port } = await world(
        async call => {
          await call.next()
          call.send(continueHeaders())
          await call.next()
          call.send(bodyAnswer('longer than before'))
          await call.over
        },
        { processingMode: BUFFERED },
      )
      expect((await sendHttp1({ port, body: 'abc' })).status).toBe(500)
    })
  })

  describe('modes chosen by the processor', () => {
    const mode = (modeOverride: NonNullable<Answer['modeOverride']>): Answer =>
      ({ ...continueHeaders(), modeOverride }) as Answer
    const BUFFER = { requestBodyMode: 2 } as const

    it('NONE becomes BUFFERED for one request', async () => {
      const { port, u1, processor } = await world(
        async call => {
          await call.next()
          call.send(mode(BUFFER))
          await call.next()
          call.send(emptyBody)
          await call.over
        },
        { processingMode: HEADERS, allowModeOverride: true },
      )
      expect((await sendHttp1({ port, body: 'abc' })).status).toBe(200)
      expect((await u1.completed()).headers['content-length']).toBe('3')
      expect(processor.streams[0]).toEqual(['requestHeaders', 'requestBody(3,end)'])
    })

    it.each([
      ['not allowed', { processingMode: HEADERS }],
      ['nowait', { processingMode: LOOK, ...NOWAIT, allowModeOverride: true }],
      ['full duplex', { processingMode: DUPLEX, allowModeOverride: true }],
      [
        'not in the list',
        { processingMode: HEADERS, allowModeOverride: true, allowedOverrideModes: [{ requestBodyMode: 'BUFFERED' }] },
      ],
    ])('an override is ignored: %s', async (_name, extProc) => {
      const { port, processor } = await world(async call => {
        await call.next()
        call.send(mode(BUFFER))
        for (;;) {
          const { request } = (await call.next()) ?? {}
          if (request?.case !== 'requestBody') return
          call.send(
            extProc.processingMode === DUPLEX ? chunk(request.value.body, request.value.endOfStream) : emptyBody,
          )
        }
      }, extProc as never)
      expect((await sendHttp1({ port, body: 'abc', framing: 'chunked' })).status).toBe(200)
      if (extProc.processingMode === HEADERS) expect(processor.streams[0]).toEqual(['requestHeaders'])
    })

    it.each([
      ['with trailers', 1, 200],
      ['without trailers', 0, 500],
    ] as const)(
      'an override alone opens full duplex while headers are held (%s)',
      async (_name, requestTrailerMode, status) => {
        const { port, u1 } = await world(
          async call => {
            await call.next()
            call.send({ modeOverride: { requestBodyMode: 4, requestTrailerMode, responseHeaderMode: 2 } })
            const parts: Uint8Array[] = []
            for (;;) {
              const { request } = (await call.next()) ?? {}
              if (request?.case !== 'requestBody') return
              parts.push(request.value.body)
              if (request.value.endOfStream) break
            }
            call.send(continueHeaders(), chunk(Buffer.concat(parts), true))
            await call.over
          },
          { processingMode: HEADERS, allowModeOverride: true },
        )
        expect((await sendHttp1({ port, body: 'abcdef' })).status).toBe(status)
        if (status === 200) expect((await u1.completed()).body.bytes?.toString()).toBe('abcdef')
      },
    )
  })

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
