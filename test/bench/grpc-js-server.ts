/**
 * The plainest ext_proc server on grpc-js: no decision, one fixed endpoint, bodies echoed, codec by hand. It is printed beside ours
 * on machines with and without Go, as a mark of what the library's transport costs; no goal counts against it.
 *
 *     node test/bench/grpc-js-server.ts          prints {"port": N}
 */
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { Buffer } from 'node:buffer'
import { Decision } from '../../src/extproc/decision.ts'
import { decodeRequest, IncomingMessage } from '../../src/extproc/decode-request.ts'
import {
  Direction,
  writeEmptyHeaders,
  writeRequestHeaders,
  writeStreamedHead,
} from '../../src/extproc/encode-response.ts'
import { RequestKind } from '../../src/extproc/modes.ts'
import { EXT_PROC_SERVICE } from '../../src/extproc/service.ts'
import { WireWriter } from '../../src/extproc/wire.ts'
import { PREFIX_BYTES } from '../../src/grpc/framing.ts'

const writer = new WireWriter()
const message = new IncomingMessage()
const decision = new Decision()
decision.endpoints = '127.0.0.1:8000'
decision.endpointHeader = true
decision.clearRouteCache = true
const identity = (bytes: Buffer): Buffer => bytes

/** What was written, without the gRPC prefix that grpc-js adds itself. */
function taken(): Buffer {
  return writer.take().subarray(PREFIX_BYTES)
}

function echo(direction: Direction): Buffer {
  const { bodyStart, bodyEnd, endOfStream } = message
  writeStreamedHead(writer, direction, bodyEnd - bodyStart, endOfStream)
  return Buffer.concat([taken(), message.bytes!.subarray(bodyStart, bodyEnd)])
}

function answer(bytes: Buffer): Buffer | undefined {
  if (!decodeRequest(bytes, 0, bytes.length, message)) return undefined
  switch (message.kind) {
    case RequestKind.REQUEST_HEADERS:
      writeRequestHeaders(writer, decision, -1)
      return taken()
    case RequestKind.RESPONSE_HEADERS:
      writeEmptyHeaders(writer, Direction.RESPONSE)
      return taken()
    case RequestKind.REQUEST_BODY:
      return echo(Direction.REQUEST)
    case RequestKind.RESPONSE_BODY:
      return echo(Direction.RESPONSE)
    default:
      return undefined
  }
}

const server = new Server()
server.addService(
  {
    Process: {
      path: `/${EXT_PROC_SERVICE}/Process`,
      requestStream: true,
      responseStream: true,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity,
    },
  },
  {
    Process: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (bytes: Buffer) => {
        const reply = answer(bytes)
        if (reply !== undefined) call.write(reply)
      })
      call.on('end', () => call.end())
      call.on('error', () => {})
    },
  },
)
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error
  console.log(JSON.stringify({ port }))
})
const stop = (): void => {
  server.forceShutdown()
  process.exit(0)
}
process.on('SIGTERM', stop)
process.stdin.on('end', stop).resume()
