/** All ways in which a stream can end. */
import { status as Status } from '@grpc/grpc-js'
import { describe, expect, it } from '@jest/globals'
import { frameMessage } from '../framing.ts'
import { GrpcStatus, StreamEnd } from '../transport.ts'
import { ended, received } from './harness.ts'
import type { Harness } from './harness.ts'
import { END_STREAM, FrameType, frame, grpcRequest, headersFrame, resetFrame } from './raw-http2-client.ts'
import { RecordingService, eventually } from './recording-service.ts'

const INTERNAL_ERROR = 2

export function endsSuite(name: string, harness: Harness): void {
  const { echo } = harness

  describe(`${name}: ends`, () => {
    it('reports a reset once, at whatever moment it comes', async () => {
      const busy = new RecordingService('/test/Busy', {
        message: ({ stream }, message) => stream.send(frameMessage(message)),
      })
      const server = await harness.serve([busy])
      const client = await harness.raw(server)
      const begin = (id: number): Buffer => headersFrame(id, grpcRequest(busy.path))
      const message = (id: number): Buffer => frame(FrameType.DATA, 0, id, frameMessage(Buffer.from('m')))
      client.write(begin(1), message(1), resetFrame(1, 8))
      client.write(begin(3), message(3))
      await client.until(() => received(client, 3).length > 0)
      client.write(resetFrame(3, INTERNAL_ERROR))
      client.write(begin(5), frame(FrameType.DATA, 0, 5, Buffer.from([0, 0])), resetFrame(5, 0))
      client.write(begin(7), message(7), frame(FrameType.DATA, END_STREAM, 7), resetFrame(7, INTERNAL_ERROR))
      client.write(begin(9), message(9), resetFrame(9, INTERNAL_ERROR), message(9), resetFrame(9, INTERNAL_ERROR))
      await eventually(() => busy.opened.length === 5 && server.streams === 0)
      const { RESET, HALF_CLOSED } = StreamEnd
      expect(busy.opened.map(({ closings }) => closings)).toEqual([
        [RESET],
        [RESET],
        [RESET],
        [HALF_CLOSED, RESET],
        [RESET],
      ])
      for (const { stream } of busy.opened) {
        stream.send(frameMessage(Buffer.from('late')))
        stream.grant(1000)
        stream.end(GrpcStatus.OK)
        expect(stream.pendingBytes).toBe(0)
      }
      client.write(begin(11), message(11))
      await client.until(() => received(client, 11).length > 0)
      expect(server.errors).toEqual([])
    })

    it('says nothing after the service has ended the stream', async () => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      client.write(headersFrame(1, grpcRequest(echo.path), END_STREAM), resetFrame(1, INTERNAL_ERROR))
      client.write(headersFrame(3, grpcRequest(echo.path), END_STREAM))
      await client.until(() => ended(client, 3))
      client.write(resetFrame(3, INTERNAL_ERROR))
      await eventually(() => server.streams === 0)
      expect(echo.last.closings).toEqual([StreamEnd.HALF_CLOSED])
    })

    it('reports a reset as a reset although the connection ends right after it', async () => {
      const idle = new RecordingService('/test/Idle', {})
      const server = await harness.serve([idle])
      const client = await harness.raw(server)
      client.write(headersFrame(1, grpcRequest(idle.path)))
      await eventually(() => idle.opened.length === 1)
      client.socket.end(resetFrame(1, INTERNAL_ERROR))
      await eventually(() => idle.last.closings.length > 0)
      expect(idle.last.closings).toEqual([StreamEnd.RESET])
    })

    it('reports a lost connection', async () => {
      const idle = new RecordingService('/test/Idle', {})
      const server = await harness.serve([idle])
      const client = await harness.raw(server)
      client.write(headersFrame(1, grpcRequest(idle.path)), headersFrame(3, grpcRequest(idle.path), END_STREAM))
      await eventually(() => idle.opened.length === 2)
      client.socket.resetAndDestroy()
      await eventually(() => idle.opened.every(({ closings }) => closings.includes(StreamEnd.LOST)))
      expect(idle.opened.map(({ closings }) => closings)).toEqual([
        [StreamEnd.LOST],
        [StreamEnd.HALF_CLOSED, StreamEnd.LOST],
      ])
      expect(server.streams).toBe(0)
    })

    it('takes 10,000 streams that end with RST_STREAM on one connection', async () => {
      const service = new RecordingService('/test/Storm', {
        message: ({ stream }, message) => stream.send(frameMessage(message)),
      })
      const server = await harness.serve([service])
      const client = await harness.raw(server)
      const message = frameMessage(Buffer.from('m'))
      const refill = frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.from([0, 0, 4, 0]))
      for (let batch = 0; batch < 100; batch++) {
        const ids = Array.from({ length: 100 }, (_value, i) => 200 * batch + 2 * i + 1)
        client.write(
          refill,
          ...ids.map(id =>
            Buffer.concat([headersFrame(id, grpcRequest(service.path)), frame(FrameType.DATA, 0, id, message)]),
          ),
        )
        await client.until(() => client.of(FrameType.DATA).length === 100)
        client.frames.length = 0
        // Half of them as Envoy ends a stream of which nothing more is wanted, half as it ends all others.
        client.write(
          ...ids.map(id =>
            Buffer.concat([
              id % 4 === 1 ? frame(FrameType.DATA, END_STREAM, id) : Buffer.alloc(0),
              resetFrame(id, INTERNAL_ERROR),
            ]),
          ),
        )
      }
      await eventually(() => server.streams === 0)
      expect(client.closed).toBe(false)
      expect(client.of(FrameType.GOAWAY)).toEqual([])
      expect(service.opened).toHaveLength(10_000)
      const { HALF_CLOSED, RESET } = StreamEnd
      expect(
        service.opened.every(
          ({ closings }, i) => closings.join() === (i % 2 === 0 ? [HALF_CLOSED, RESET] : [RESET]).join(),
        ),
      ).toBe(true)
    })

    it('takes 10,000 streams that it ends itself while the client goes on sending', async () => {
      const service = new RecordingService('/test/Early', { message: ({ stream }) => stream.end(GrpcStatus.OK) })
      const server = await harness.serve([service])
      const client = await harness.raw(server)
      const message = frameMessage(Buffer.from('m'))
      for (let batch = 0; batch < 100; batch++) {
        const ids = Array.from({ length: 100 }, (_value, i) => 200 * batch + 2 * i + 1)
        const data = (id: number): Buffer => frame(FrameType.DATA, 0, id, message)
        client.write(...ids.map(id => Buffer.concat([headersFrame(id, grpcRequest(service.path)), data(id), data(id)])))
        await client.until(() => client.of(FrameType.HEADERS).length === 100)
        client.frames.length = 0
        client.write(...ids.map(id => Buffer.concat([data(id), resetFrame(id, INTERNAL_ERROR)])))
      }
      await eventually(() => server.streams === 0)
      expect(client.closed).toBe(false)
      expect(client.of(FrameType.GOAWAY)).toEqual([])
    })

    it.each(['open', 'part', 'halfClosed'] as const)('turns an exception in %s into INTERNAL', async where => {
      const failing = new RecordingService('/test/Fail', {
        [where]: ({ stream }: { stream: { send(bytes: Uint8Array): void; end(status: GrpcStatus): void } }) => {
          // Half an answer must not leave, least of all an OK.
          stream.send(frameMessage(Buffer.from('half')))
          stream.end(GrpcStatus.OK)
          throw new Error('a bug')
        },
      })
      const server = await harness.serve([failing])
      const call = harness.call(server, failing.path)
      call.stream.write(Buffer.from('x'))
      call.stream.end()
      expect(await call.status).toMatchObject({ code: Status.INTERNAL, details: 'internal error' })
      expect(call.messages).toEqual([])
      expect(server.errors).toEqual([new Error('a bug')])
      expect((await harness.call(server, '/test/Other').status).code).toBe(Status.UNIMPLEMENTED)
    })

    it('keeps the client to its deadline', async () => {
      const idle = new RecordingService('/test/Idle', {})
      const server = await harness.serve([idle])
      const client = await harness.raw(server)
      client.write(headersFrame(1, { ...grpcRequest(idle.path), 'grpc-timeout': '20m' }))
      await client.until(() => ended(client, 1))
      expect(idle.last.closings).toEqual([StreamEnd.RESET])
      client.write(headersFrame(3, { ...grpcRequest(echo.path), 'grpc-timeout': '99999999H' }, END_STREAM))
      await client.until(() => ended(client, 3))
    })
  })
}
