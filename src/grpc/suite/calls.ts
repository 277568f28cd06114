/** Calls that go well. */
import { connect as connectTcp } from 'node:net'
import { status as Status } from '@grpc/grpc-js'
import { describe, expect, it } from '@jest/globals'
import { frameMessage } from '../framing.ts'
import { GrpcStatus, StreamEnd } from '../transport.ts'
import { ended, received } from './harness.ts'
import type { Harness } from './harness.ts'
import { END_STREAM, FrameType, frame, grpcRequest, headersFrame } from './raw-http2-client.ts'
import { RecordingService, eventually } from './recording-service.ts'

export function callsSuite(name: string, harness: Harness): void {
  const { echo } = harness

  describe(`${name}: calls`, () => {
    it('echoes messages of many sizes to a grpc-js client', async () => {
      const server = await harness.serve([echo])
      const call = harness.call(server, echo.path)
      const sizes = [0, 1, 5, 16_379, 16_384, 40_000]
      for (const size of sizes) call.stream.write(Buffer.alloc(size, size % 251))
      call.stream.end()
      expect((await call.status).code).toBe(Status.OK)
      expect(call.messages).toEqual(sizes.map(size => Buffer.alloc(size, size % 251)))
      expect(echo.last.closings).toEqual([StreamEnd.HALF_CLOSED])
      expect(echo.last.headers[':path']).toBe(echo.path)
    })

    it('understands messages cut into DATA frames at any byte', async () => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      const wire = Buffer.concat([
        frameMessage(Buffer.from('abc')),
        frameMessage(Buffer.alloc(0)),
        frameMessage(Buffer.from('d')),
      ])
      let id = 1
      for (let at = 0; at <= wire.length; at++, id += 2) {
        client.write(headersFrame(id, grpcRequest(echo.path)), frame(FrameType.DATA, 0, id, wire.subarray(0, at)))
        client.write(frame(FrameType.DATA, END_STREAM, id, wire.subarray(at)))
        await client.until(() => ended(client, id))
        expect(received(client, id)).toEqual(wire)
      }
      client.write(headersFrame(id, grpcRequest(echo.path)))
      for (const byte of wire) client.write(frame(FrameType.DATA, 0, id, Uint8Array.of(byte)))
      client.write(frame(FrameType.DATA, END_STREAM, id))
      await client.until(() => ended(client, id))
      expect(received(client, id)).toEqual(wire)
    })

    it('takes headers, messages and the end in the first packet', async () => {
      const server = await harness.serve([echo])
      const socket = connectTcp(server.port, '127.0.0.1')
      harness.afterwards(() => socket.destroy())
      socket.write(
        Buffer.concat([
          Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
          frame(FrameType.SETTINGS, 0, 0),
          headersFrame(1, grpcRequest(echo.path)),
          frame(FrameType.DATA, END_STREAM, 1, frameMessage(Buffer.from('early'))),
        ]),
      )
      const seen: Buffer[] = []
      socket.on('data', bytes => seen.push(bytes))
      await eventually(() => Buffer.concat(seen).includes('early'))
      expect(echo.last.closings).toEqual([StreamEnd.HALF_CLOSED])
    })

    it('ends a call whose headers are all that the client sends', async () => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      client.write(headersFrame(1, grpcRequest(echo.path), END_STREAM))
      await client.until(() => ended(client, 1))
      expect(echo.last.closings).toEqual([StreamEnd.HALF_CLOSED])
      expect(client.of(FrameType.DATA)).toEqual([])
    })

    it('sends what one call of the service said as one DATA frame', async () => {
      const burst = new RecordingService('/test/Burst', {
        message: ({ stream }) => {
          for (let i = 0; i < 5; i++) stream.send(frameMessage(Buffer.alloc(10, i)))
        },
      })
      const server = await harness.serve([burst])
      const client = await harness.raw(server)
      client.write(
        headersFrame(1, grpcRequest(burst.path)),
        frame(FrameType.DATA, 0, 1, frameMessage(Buffer.from('x'))),
      )
      await client.until(() => received(client, 1).length === 75)
      expect(client.of(FrameType.DATA, 1)).toHaveLength(1)
    })

    it('delivers large and small pieces in their order', async () => {
      const sizes = [3, 100_000, 1, 70_000, 2]
      const mixed = new RecordingService('/test/Mixed', {
        message: ({ stream }) => {
          for (const size of sizes) stream.send(frameMessage(Buffer.alloc(size, size % 256)))
          stream.end(GrpcStatus.OK, 'all of it')
        },
      })
      const server = await harness.serve([mixed])
      const call = harness.call(server, mixed.path)
      call.stream.write(Buffer.from('x'))
      expect(await call.status).toMatchObject({ code: Status.OK, details: 'all of it' })
      expect(call.messages).toEqual(sizes.map(size => Buffer.alloc(size, size % 256)))
    })

    it('answers later, outside of any call', async () => {
      const later = new RecordingService('/test/Later', {})
      const server = await harness.serve([later])
      const call = harness.call(server, later.path)
      call.stream.write(Buffer.from('x'))
      await eventually(() => later.last?.messages.length === 1)
      later.last.stream.send(frameMessage(Buffer.from('first')))
      await eventually(() => call.messages.length === 1)
      later.last.stream.send(frameMessage(Buffer.from('second')))
      later.last.stream.end(GrpcStatus.ABORTED, 'grün 100%')
      later.last.stream.send(frameMessage(Buffer.from('too late')))
      later.last.stream.end(GrpcStatus.OK)
      expect(await call.status).toMatchObject({ code: Status.ABORTED, details: 'grün 100%' })
      expect(call.messages.map(String)).toEqual(['first', 'second'])
    })

    it('answers trailers-only when nothing was sent, and tells the client to stop', async () => {
      const refusing = new RecordingService('/test/Refuse', {
        open: ({ stream }) => stream.end(GrpcStatus.PERMISSION_DENIED, 'no'),
      })
      const server = await harness.serve([refusing])
      const client = await harness.raw(server)
      client.write(headersFrame(1, grpcRequest(refusing.path)))
      await client.until(() => client.of(FrameType.RST_STREAM, 1).length > 0)
      expect(client.of(FrameType.HEADERS, 1)).toHaveLength(1)
      expect(client.of(FrameType.HEADERS, 1)[0]!.flags & END_STREAM).toBe(END_STREAM)
      expect(client.of(FrameType.RST_STREAM, 1)[0]!.payload).toEqual(Buffer.alloc(4))
      client.write(frame(FrameType.DATA, 0, 1, frameMessage(Buffer.alloc(100))))
      expect(await harness.call(server, refusing.path).status).toMatchObject({
        code: Status.PERMISSION_DENIED,
        details: 'no',
      })
      expect(refusing.opened.map(({ messages, closings }) => [messages, closings])).toEqual([
        [[], []],
        [[], []],
      ])
    })

    it('stops a client that is not done when the call ends', async () => {
      const once = new RecordingService('/test/Once', {
        message: ({ stream }, message) => {
          stream.send(frameMessage(message))
          stream.end(GrpcStatus.OK)
        },
      })
      const server = await harness.serve([once])
      const client = await harness.raw(server)
      const bytes = Buffer.concat([frameMessage(Buffer.from('a')), frameMessage(Buffer.from('b'))])
      client.write(headersFrame(1, grpcRequest(once.path)), frame(FrameType.DATA, 0, 1, bytes))
      await client.until(() => client.of(FrameType.RST_STREAM, 1).length > 0)
      expect(received(client, 1)).toEqual(bytes.subarray(0, 6))
      const [head, trailers] = client.of(FrameType.HEADERS, 1)
      expect([head!.flags & END_STREAM, trailers!.flags & END_STREAM]).toEqual([0, END_STREAM])
      expect(client.of(FrameType.RST_STREAM, 1)[0]!.payload).toEqual(Buffer.alloc(4))
      expect(once.last.messages.map(String)).toEqual(['a'])
      expect(once.last.closings).toEqual([])
    })
  })
}
