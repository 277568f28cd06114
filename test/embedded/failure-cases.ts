/** A processor that is absent, fails, is silent or leaves early (envoy-1.40-measured.md §5). */
import { describe, expect, it } from '@jest/globals'
import { sendHttp1 } from '../support/http-client.ts'
import { type Answer } from './scripted-processor.ts'
import { BUFFERED, continueHeaders, DUPLEX, HEADERS, LOOK, NOWAIT, world } from './world.ts'

export function failureCases(): void {
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
        const body = call.next()
        const first = await Promise.race([body, new Promise(resolve => setTimeout(resolve, 100))])
        // A buffered body comes only after the headers were answered.
        if (first === undefined) call.send(continueHeaders())
        await body
        call.end(14, 'going down')
      }, extProc)
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
      const { port, u1, counts, processor } = await world(async () => undefined, extProc)
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
}
