/** What may be changed of a request, and what becomes of its length (envoy-1.40-measured.md §2, §5). */
import { describe, expect, it } from '@jest/globals'
import { sendHttp1 } from '../support/http-client.ts'
import { setHeaders } from './scripted-processor.ts'
import { answers, bodyAnswer, BUFFERED, continueHeaders, emptyBody, HEADERS, LOOK, NOWAIT, world } from './world.ts'

export function mutationCases(): void {
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
      }, extProc)
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
}
