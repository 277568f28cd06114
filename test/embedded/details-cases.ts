/** The response code details of the access log, word for word Envoy's. */
import { describe, expect, it } from '@jest/globals'
import { sendHttp1 } from '../support/http-client.ts'
import type { JsonObject } from '@bufbuild/protobuf'
import type { PlaneOptions } from './plane-resources.ts'
import type { CallScript } from './scripted-processor.ts'
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
  soon,
  world,
} from './world.ts'

const REFUSED = 'remote_connection_failure|delayed_connect_error:_Connection_refused'

export function detailsCases(): void {
  describe('response code details', () => {
    it('a body over the limit', async () => {
      const { port, lines } = await world(answers(continueHeaders()), { processingMode: BUFFERED }, { accessLog: true })
      expect((await sendHttp1({ port, body: 'x'.repeat(1_500_000), writeBytes: 50_000 })).status).toBe(413)
      await soon(async () => (await lines()).length === 1)
      expect((await lines())[0]).toContain('"request_payload_too_large"')
    })

    it.each<[string, string, JsonObject, CallScript, Partial<PlaneOptions>?]>([
      ['an answer that does not fit', 'spurious_message', { processingMode: LOOK, ...NOWAIT }, afterBody(emptyBody)],
      [
        'a plain body in full duplex',
        'spurious_message:_Normal_body_mutation_response_is_received_while_body_mode__is_FULL_DUPLEX_STREAMED',
        { processingMode: DUPLEX },
        afterBody(continueHeaders(), bodyAnswer('x')),
      ],
      [
        'a streamed answer elsewhere',
        'spurious_message:_streamed_response_is_received_while_body_mode__is_not_FULL_DUPLEX_STREAMED',
        { processingMode: LOOK, ...NOWAIT },
        afterBody(continueHeaders(), chunk('x', true)),
      ],
      ['an empty answer', 'unhandled_message', { processingMode: HEADERS }, answers({})],
      [
        'an immediate response where it is disabled',
        'unhandled_immediate_response_due_to_config_disabled_it',
        { processingMode: HEADERS, disableImmediateResponse: true },
        answers({ response: { case: 'immediateResponse', value: { status: { code: 403 } } } }),
      ],
      [
        'an immediate response',
        'no_such_model',
        { processingMode: HEADERS },
        answers({
          response: { case: 'immediateResponse', value: { status: { code: 404 }, details: 'no such model' } },
        }),
      ],
      [
        'UNAVAILABLE',
        'ext_proc_error_gRPC_error_14{going%20down{via_upstream}}',
        { processingMode: HEADERS },
        async call => {
          await call.next()
          call.end(14, 'going down')
        },
      ],
      [
        'no endpoint',
        'ext_proc_error_gRPC_error_14{no_healthy_upstream{no_healthy_upstream}}',
        { processingMode: HEADERS },
        async () => undefined,
        { noProcessor: true },
      ],
      [
        'nobody listens',
        `ext_proc_error_gRPC_error_14{upstream_connect_error_or_disconnect/reset_before_headers._reset_reason:_remote_connection_failure{upstream_reset_before_response_started{${REFUSED}}}}`,
        { processingMode: HEADERS },
        async () => undefined,
        { extProcPort: 1 },
      ],
      [
        'silence',
        'ext_proc_error_per-message_timeout_exceeded',
        { processingMode: HEADERS, messageTimeout: '0.1s' },
        async call => call.over,
      ],
      [
        'an invalid header',
        'header_mutation_set_contains_invalid_character',
        { processingMode: HEADERS },
        answers(continueHeaders({ x: 'a\nb' })),
      ],
      [
        'a buffered body of another length',
        'mismatch_between_content_length_and_the_length_of_the_mutated_body',
        { processingMode: BUFFERED },
        async call => {
          await call.next()
          call.send(continueHeaders())
          await call.next()
          call.send(bodyAnswer('longer'))
          await call.over
        },
      ],
      [
        'an upstream that refuses',
        `upstream_reset_before_response_started{${REFUSED}}`,
        { processingMode: HEADERS },
        answers(continueHeaders()),
        { backends: { u1: [1], u2: [] } },
      ],
      ['no route', 'route_not_found', { processingMode: HEADERS }, answers(continueHeaders()), { routes: [] }],
    ])('%s: %s', async (_name, details, extProc, script, options = {}) => {
      const { port, lines } = await world(script, extProc, { accessLog: true, ...options })
      await sendHttp1({ port, body: 'abc' })
      await soon(async () => (await lines()).length === 1)
      expect((JSON.parse((await lines())[0] ?? '') as { details: string }).details).toBe(details)
    })
  })
}
