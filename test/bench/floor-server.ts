/**
 * The least that a server on Node can do as an external processor in look mode: frames read off `net.Socket`, one prepared answer
 * as soon as the first bytes of the body are there, and the end. It decodes no header, reads no JSON, decides nothing, and heeds no
 * send window. Whatever latency is left with it in the place of ours belongs to Envoy, the kernel and Node's sockets.
 *
 *     node test/bench/floor-server.ts          prints {"port": N}
 */
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Decision } from '../../src/extproc/decision.ts'
import { writeRequestHeaders } from '../../src/extproc/encode-response.ts'
import { WireWriter } from '../../src/extproc/wire.ts'
import { PREFIX_BYTES } from '../../src/grpc/framing.ts'
import {
  Flag,
  FRAME_HEAD_BYTES,
  FrameType,
  INITIAL_WINDOW,
  PREFACE,
  readUint31,
  writeFrameHead,
  writeUint32,
} from '../../src/grpc/h2/frame.ts'

/** Streams that an answer was sent to are forgotten beyond this many: none is asked for twice so late. */
const REMEMBERED_STREAMS = 1000

const ANSWER = answer()

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES + payload.length)
  writeFrameHead(bytes, 0, payload.length, type, flags, stream)
  bytes.set(payload, FRAME_HEAD_BYTES)
  return bytes
}

/** Literal fields without indexing (RFC 7541 §6.2.2). */
function headerBlock(...fields: readonly (readonly [string, string])[]): Buffer {
  const parts = fields.map(([name, value]) =>
    Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]),
  )
  return Buffer.concat(parts)
}

/** Header answer and OK close of a stream, whose number is still to be put in. */
function answer(): { readonly bytes: Buffer; readonly streamsAt: readonly number[] } {
  const decision = new Decision()
  decision.set('x-gateway-model-name', 'm')
  decision.clearRouteCache = true
  const writer = new WireWriter()
  writeRequestHeaders(writer, decision, -1)
  const frames = [
    frame(
      FrameType.HEADERS,
      Flag.END_HEADERS,
      0,
      headerBlock([':status', '200'], ['content-type', 'application/grpc']),
    ),
    frame(FrameType.DATA, 0, 0, Buffer.from(writer.take())),
    frame(FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 0, headerBlock(['grpc-status', '0'])),
  ]
  let at = 0
  const streamsAt = frames.map(({ length }) => (at += length) - length + 5)
  return { bytes: Buffer.concat(frames), streamsAt }
}

function serve(socket: Socket): void {
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  let rest: Buffer = Buffer.alloc(0)
  let greeted = false
  /** Bytes still to come, by stream, before the body's first: what is left of the message with the headers. −1: it began. */
  const before = new Map<number, number>()
  socket.on('data', (read: Buffer) => {
    rest = rest.length === 0 ? read : Buffer.concat([rest, read])
    const out: Buffer[] = []
    if (!greeted) {
      if (rest.length < PREFACE.length) return
      rest = rest.subarray(PREFACE.length)
      greeted = true
      out.push(frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(0)))
    }
    let received = 0
    while (rest.length >= FRAME_HEAD_BYTES) {
      const length = rest.readUIntBE(0, 3)
      if (rest.length < FRAME_HEAD_BYTES + length) break
      const type = rest[3]!
      const stream = readUint31(rest, 5)
      if (type === FrameType.SETTINGS && (rest[4]! & Flag.ACK) === 0)
        out.push(frame(FrameType.SETTINGS, Flag.ACK, 0, Buffer.alloc(0)))
      if (type === FrameType.PING && (rest[4]! & Flag.ACK) === 0)
        out.push(frame(FrameType.PING, Flag.ACK, 0, rest.subarray(FRAME_HEAD_BYTES, FRAME_HEAD_BYTES + length)))
      if (type === FrameType.DATA) {
        received += length
        const headers = before.get(stream) ?? PREFIX_BYTES + rest.readUInt32BE(FRAME_HEAD_BYTES + 1)
        before.set(stream, Math.max(-1, headers - length))
        if (headers >= 0 && length > headers) out.push(answerTo(stream))
      }
      rest = rest.subarray(FRAME_HEAD_BYTES + length)
    }
    if (received > 0) {
      const increment = Buffer.alloc(4)
      writeUint32(increment, 0, Math.max(received, INITIAL_WINDOW >> 8))
      out.push(frame(FrameType.WINDOW_UPDATE, 0, 0, increment))
    }
    if (out.length > 0) socket.write(Buffer.concat(out))
    if (before.size > REMEMBERED_STREAMS) before.clear()
  })
}

function answerTo(stream: number): Buffer {
  const bytes = Buffer.from(ANSWER.bytes)
  for (const at of ANSWER.streamsAt) writeUint32(bytes, at, stream)
  return bytes
}

const server = createServer(serve)
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })))
