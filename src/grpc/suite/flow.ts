/** Flow control in both directions. */
import { setTimeout as sleep } from 'node:timers/promises'
import { status as Status } from '@grpc/grpc-js'
import { describe, expect, it } from '@jest/globals'
import { frameMessage } from '../framing.ts'
import { GrpcStatus, StreamEnd } from '../transport.ts'
import { ended, received } from './harness.ts'
import type { Harness } from './harness.ts'
import { END_STREAM, FrameType, frame, grpcRequest, headersFrame } from './raw-http2-client.ts'
import type { RawHttp2Client } from './raw-http2-client.ts'
import { RecordingService, eventually } from './recording-service.ts'

export function flowSuite(name: string, harness: Harness): void {
  const { echo } = harness

  describe(`${name}: flow control`, () => {
    const WINDOW = 65_535
    /** What a client that has more to send can send: frames of 16,384 bytes until its window, counted from frames, is used up. */
    class Uploader {
      readonly client: RawHttp2Client
      readonly id: number
      sent = 0
      constructor(client: RawHttp2Client, id: number, path: string, messageBytes: number) {
        this.client = client
        this.id = id
        const prefix = frameMessage(Buffer.alloc(0))
        new DataView(prefix.buffer).setUint32(1, messageBytes)
        client.write(headersFrame(id, grpcRequest(path)), frame(FrameType.DATA, 0, id, prefix))
        this.sent = 5
      }

      get window(): number {
        const updates = this.client.of(FrameType.WINDOW_UPDATE, this.id)
        return updates.reduce((sum, { payload }) => sum + payload.readUInt32BE(0), WINDOW) - this.sent
      }

      /** Sends all that the window allows. */
      push(): void {
        while (this.window > 0) {
          const size = Math.min(this.window, 16_384)
          this.client.write(frame(FrameType.DATA, 0, this.id, Buffer.alloc(size)))
          this.sent += size
        }
      }
    }

    it('stalls a stream that is granted nothing, and only that one', async () => {
      const sink = new RecordingService('/test/Sink', {}, 1 << 30)
      const server = await harness.serve([sink, echo])
      const client = await harness.raw(server)
      const uploads = Array.from({ length: 20 }, (_value, i) => new Uploader(client, 2 * i + 1, sink.path, 1 << 29))
      for (const upload of uploads) upload.push()
      // 20 × 64 KiB is far beyond what HTTP/2 gives a connection by default.
      await eventually(() => sink.opened.every(({ receivedBytes }) => receivedBytes === WINDOW - 5))
      client.write(
        headersFrame(101, grpcRequest(echo.path)),
        frame(FrameType.DATA, END_STREAM, 101, frameMessage(Buffer.alloc(9000))),
      )
      await client.until(() => ended(client, 101))
      await sleep(20)
      for (const upload of uploads) upload.push()
      await sleep(20)
      expect(uploads.map(({ sent }) => sent)).toEqual(uploads.map(() => WINDOW))
    })

    it('lets a granted stream go on by what was granted, and at most a window more', async () => {
      const sink = new RecordingService('/test/Sink', {}, 1 << 30)
      const server = await harness.serve([sink])
      const client = await harness.raw(server)
      const upload = new Uploader(client, 1, sink.path, 1 << 29)
      let granted = 0
      for (const grant of [1, 1000, 50_000, 200_000, 1_000_000, 1]) {
        upload.push()
        await eventually(() => sink.last?.receivedBytes === upload.sent - 5)
        sink.last.stream.grant(grant)
        granted += grant
        const least = Math.min(WINDOW + granted, upload.sent + grant)
        while (upload.sent < least) {
          await client.until(() => upload.window > 0 || upload.sent >= least)
          upload.push()
        }
        await sleep(10)
        upload.push()
        expect(upload.sent).toBeLessThanOrEqual(WINDOW + granted + 65_536)
      }
    })

    it('carries a large message that is granted part by part', async () => {
      const size = 3 * 1024 * 1024
      const willing = new RecordingService(
        '/test/Willing',
        {
          part: ({ stream }, part) => stream.grant(part.length),
          message: ({ stream }, message) => stream.send(frameMessage(message)),
          halfClosed: ({ stream }) => stream.end(GrpcStatus.OK),
        },
        size,
      )
      const server = await harness.serve([willing])
      const call = harness.call(server, willing.path)
      const message = Buffer.alloc(size, 'abcdefg')
      call.stream.write(message)
      call.stream.end()
      expect((await call.status).code).toBe(Status.OK)
      expect(call.messages).toHaveLength(1)
      expect(call.messages[0]!.equals(message)).toBe(true)
    })

    it('carries a large message that is granted at once', async () => {
      const willing = new RecordingService('/test/Willing', {
        open: ({ stream }) => stream.grant(3_000_000),
        message: ({ stream }) => stream.end(GrpcStatus.OK),
      })
      const server = await harness.serve([willing])
      const call = harness.call(server, willing.path)
      call.stream.write(Buffer.alloc(3_000_000))
      expect((await call.status).code).toBe(Status.OK)
    })

    it('counts what a slow reader leaves, tells when it is gone, and resets the stream at the cap', async () => {
      const talker = new RecordingService('/test/Talk', {})
      const server = await harness.serve([talker], { maxStreamPendingBytes: 1_000_000 })
      const client = await harness.raw(server)
      client.write(headersFrame(1, grpcRequest(talker.path)), headersFrame(3, grpcRequest(talker.path)))
      await eventually(() => talker.opened.length === 2)
      const [one, other] = talker.opened
      one!.stream.send(Buffer.alloc(400_000))
      await client.until(() => received(client, 1).length === WINDOW)
      expect(one!.stream.pendingBytes).toBeGreaterThan(300_000)
      expect(one!.drainedCalls).toBe(0)
      const more = Buffer.from([0, 8, 0, 0])
      client.write(frame(FrameType.WINDOW_UPDATE, 0, 0, more), frame(FrameType.WINDOW_UPDATE, 0, 1, more))
      await eventually(() => one!.drainedCalls === 1)
      expect(one!.stream.pendingBytes).toBe(0)
      for (let i = 0; i < 20; i++) other!.stream.send(Buffer.alloc(100_000))
      expect(other!.closings).toEqual([])
      await eventually(() => other!.closings.length > 0)
      expect(other!.closings).toEqual([StreamEnd.RESET])
      expect(one!.closings).toEqual([])
      await client.until(() => client.of(FrameType.RST_STREAM, 3).length > 0)
      expect(client.of(FrameType.RST_STREAM, 3)[0]!.payload.readUInt32BE(0)).toBe(11)
    })

    it('resets the stream by which a connection crosses its cap', async () => {
      const talker = new RecordingService('/test/Talk', { open: ({ stream }) => stream.send(Buffer.alloc(100_000)) })
      const server = await harness.serve([talker], { maxConnectionPendingBytes: 1_000_000, maxConcurrentStreams: 100 })
      const client = await harness.raw(server)
      client.write(...Array.from({ length: 15 }, (_value, i) => headersFrame(2 * i + 1, grpcRequest(talker.path))))
      await eventually(() => talker.opened.filter(({ closings }) => closings.length > 0).length === 5)
      await sleep(20)
      expect(talker.opened.filter(({ closings }) => closings.length === 0)).toHaveLength(10)
    })
  })
}
