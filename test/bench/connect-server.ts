/**
 * The plainest ext_proc server on connect-node, as its documentation writes one: generated messages, an async generator a stream, no
 * decision, one fixed endpoint, bodies echoed. A mark of what the library costs; no goal counts against it.
 *
 *     node test/bench/connect-server.ts          prints {"port": N}
 */
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import {
  ExternalProcessor,
  type HttpBody,
  type ProcessingRequest,
  type ProcessingResponseSchema,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'

type Answer = MessageInitShape<typeof ProcessingResponseSchema>

const DESTINATION = 'x-gateway-destination-endpoint'
const ENDPOINT = '127.0.0.1:8000'

function answer({ request }: ProcessingRequest): Answer | undefined {
  switch (request.case) {
    case 'requestHeaders':
      return {
        dynamicMetadata: { 'envoy.lb': { [DESTINATION]: ENDPOINT } },
        response: {
          case: 'requestHeaders',
          value: {
            response: {
              clearRouteCache: true,
              headerMutation: { setHeaders: [{ header: { key: DESTINATION, rawValue: Buffer.from(ENDPOINT) } }] },
            },
          },
        },
      }
    case 'requestBody':
      return { response: { case: 'requestBody', value: { response: echo(request.value) } } }
    case 'responseHeaders':
      return { response: { case: 'responseHeaders', value: {} } }
    case 'responseBody':
      return { response: { case: 'responseBody', value: { response: echo(request.value) } } }
    default:
      return undefined
  }
}

function echo({ body, endOfStream }: HttpBody) {
  return { bodyMutation: { mutation: { case: 'streamedResponse' as const, value: { body, endOfStream } } } }
}

async function* process_(requests: AsyncIterable<ProcessingRequest>): AsyncGenerator<Answer> {
  for await (const request of requests) {
    const reply = answer(request)
    if (reply !== undefined) yield reply
  }
}

const server = createServer(
  connectNodeAdapter({ routes: router => router.service(ExternalProcessor, { process: process_ }) }),
)
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })))
const stop = (): void => process.exit(0)
process.on('SIGTERM', stop)
process.stdin.on('end', stop).resume()
