/** `mode_override` (envoy-1.40-measured.md §1). */
import { describe, expect, it } from '@jest/globals'
import { sendHttp1 } from '../support/http-client.ts'
import { type Answer } from './scripted-processor.ts'
import { chunk, continueHeaders, DUPLEX, emptyBody, HEADERS, LOOK, NOWAIT, world } from './world.ts'

export function modeCases(): void {
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
      }, extProc)
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
}
