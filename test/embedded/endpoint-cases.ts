/** Which endpoint of a cluster a request goes to, and what is tried next. */
import { describe, expect, it } from '@jest/globals'
import { sendHttp1 } from '../support/http-client.ts'
import { startRecordingBackend } from '../support/recording-backend.ts'
import { OVERRIDE_HOST } from './plane-resources.ts'
import { CLOSED, continueHeaders, emptyBody, LOOK, onClose, RECEIVING, responseHeaders, soon, world } from './world.ts'

export function endpointCases(): void {
  describe('endpoint choice', () => {
    it('takes the listed endpoints in order, retries with the body, tells the served one, and is strict', async () => {
      const other = await startRecordingBackend({ name: 'other' })
      onClose(other)
      let list = ''
      const { u1, port, counts, lines } = await world(
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
          backends: { u1: [1, other.port], u2: [] },
          cluster: OVERRIDE_HOST,
          accessLog: true,
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
      await counts('spurious_msgs_received', 0)
      await soon(async () => (await lines()).length === 1)
      expect(JSON.parse((await lines())[0] ?? '')).toEqual({
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
}
