/** Peers that play with flow control. */
import { describe, expect, it } from '@jest/globals'
import { frameMessage } from '../../framing.ts'
import { GrpcStatus, StreamEnd } from '../../transport.ts'
import { ErrorCode, Setting, data, headers, paddedData, ping, settings, windowUpdate } from '../frames.ts'
import { ended, received } from '../harness.ts'
import type { Harness } from '../harness.ts'
import { END_STREAM, FrameType, frame, resetFrame } from '../raw-http2-client.ts'
import type { RawHttp2Client } from '../raw-http2-client.ts'
import { RecordingService, eventually } from '../recording-service.ts'
import { bytesInUse, bytesKeptSince } from '../kept-memory.ts'
import { besides, callBlock, exchange, goawayCode, over, resetCode } from './bystander.ts'

const { FLOW_CONTROL_ERROR, ENHANCE_YOUR_CALM, CANCEL } = ErrorCode
const KIB = 1024
const MIB = 1024 * KIB
const MAX_WINDOW = 2 ** 31 - 1

export function windowGamesSuite(name: string, harness: Harness): void {
  const { echo } = harness

  /** Answers every call with so many bytes in one message. */
  const giver = (bytes: number) =>
    new RecordingService('/test.Giver/Give', {
      halfClosed: ({ stream }) => {
        stream.send(frameMessage(Buffer.alloc(bytes, 'g')))
        stream.end(GrpcStatus.OK)
      },
    })
  const window = (size: number): Buffer => settings([Setting.INITIAL_WINDOW_SIZE, size])

  /** Everything that the server had to say to what we sent is here. */
  let pings = 0
  async function settled(client: RawHttp2Client): Promise<void> {
    const mark = `m${pings++}`
    client.write(ping(mark))
    await client.until(() =>
      client.of(FrameType.PING).some(({ payload }) => payload.toString().startsWith(`${mark}\0`)),
    )
  }

  describe(`${name}: what the peer lets us send`, () => {
    it('a window of one byte at a time', async () => {
      const give = giver(200)
      const server = await harness.serve([give])
      const client = await harness.raw(server)
      client.write(window(0), headers(1, callBlock(give.path), END_STREAM))
      for (let byte = 1; byte <= 205; byte++) {
        client.write(windowUpdate(1, 1))
        await client.until(() => received(client, 1).length === byte)
      }
      await client.until(() => ended(client, 1))
      expect(client.of(FrameType.DATA, 1).filter(({ payload }) => payload.length > 1)).toEqual([])
    })

    it('a window that becomes negative stays shut until it is positive', async () => {
      const give = giver(200 * KIB)
      const server = await harness.serve([give])
      const client = await harness.raw(server)
      client.write(windowUpdate(0, MIB), headers(1, callBlock(give.path), END_STREAM))
      await client.until(() => received(client, 1).length === 65_535)
      client.write(window(0), windowUpdate(1, 65_535))
      await settled(client)
      expect(received(client, 1)).toHaveLength(65_535)
      client.write(windowUpdate(1, 10))
      await settled(client)
      expect(received(client, 1)).toHaveLength(65_545)
      client.write(window(65_535))
      await settled(client)
      expect(received(client, 1)).toHaveLength(2 * 65_535 + 10)
      client.write(windowUpdate(1, MIB))
      await client.until(() => ended(client, 1))
      expect(received(client, 1)).toHaveLength(200 * KIB + 5)
    })

    it('a new initial size that overflows an open window', async () => {
      const server = await harness.serve([echo])
      await besides(harness, server, async () => {
        const client = await harness.raw(server)
        client.write(headers(1, callBlock(echo.path)), windowUpdate(1, MAX_WINDOW - 65_535), window(65_536))
        await over(client)
        expect(goawayCode(client)).toBe(FLOW_CONTROL_ERROR)
      })
    })

    it('the largest windows are allowed', async () => {
      const give = giver(100)
      const server = await harness.serve([give])
      const client = await harness.raw(server)
      client.write(
        windowUpdate(0, MAX_WINDOW - 65_535),
        window(MAX_WINDOW),
        headers(1, callBlock(give.path), END_STREAM),
      )
      await client.until(() => ended(client, 1))
      expect(received(client, 1)).toHaveLength(105)
    })

    it('windows that never open: what waits is bounded, and gone with the stream', async () => {
      const give = giver(100 * KIB)
      const server = await harness.serve([echo, give], {
        maxStreamPendingBytes: MIB,
        maxConnectionPendingBytes: 2 * MIB,
      })
      await besides(harness, server, async () => {
        const client = await harness.raw(server)
        client.write(window(0))
        for (let stream = 1; stream < 200; stream += 2) client.write(headers(stream, callBlock(give.path), END_STREAM))
        await settled(client)
        const reset = client.of(FrameType.RST_STREAM)
        // Twenty answers fit.
        expect(reset).toHaveLength(80)
        expect(new Set(reset.map(({ payload }) => payload.readUInt32BE(0)))).toEqual(new Set([ENHANCE_YOUR_CALM]))
        for (let stream = 1; stream < 200; stream += 2) client.write(resetFrame(stream, CANCEL))
        client.write(
          window(65_535),
          windowUpdate(0, MIB),
          headers(201, callBlock(give.path), END_STREAM),
          windowUpdate(201, MIB),
        )
        await client.until(() => ended(client, 201))
        expect(received(client, 201)).toHaveLength(100 * KIB + 5)
      })
    })

    it('what was sent does not count as pending any more', async () => {
      const give = giver(100 * KIB)
      const server = await harness.serve([give], { maxStreamPendingBytes: MIB, maxConnectionPendingBytes: MIB })
      const client = await harness.raw(server)
      client.write(window(MIB))
      for (let stream = 1; stream < 60; stream += 2) {
        client.write(windowUpdate(0, 200 * KIB), headers(stream, callBlock(give.path), END_STREAM))
        await client.until(() => ended(client, stream) || resetCode(client, stream) !== undefined)
        expect(resetCode(client, stream)).toBeUndefined()
      }
    })

    it('a connection that reads nothing keeps no more than its cap, and nobody else waits', async () => {
      const give = giver(512 * KIB)
      const server = await harness.serve([echo, give], {
        maxStreamPendingBytes: 4 * MIB,
        maxConnectionPendingBytes: 8 * MIB,
      })
      await besides(harness, server, async () => {
        const client = await harness.raw(server)
        client.write(window(MAX_WINDOW), windowUpdate(0, MAX_WINDOW - 65_535))
        await settled(client)
        client.socket.pause()
        const atRest = bytesInUse()
        for (let stream = 1; stream < 400; stream += 2) client.write(headers(stream, callBlock(give.path), END_STREAM))
        await eventually(() => give.opened.length === 200)
        expect(await bytesKeptSince(atRest, 24 * MIB)).toBeLessThan(24 * MIB)
      })
    })
  })

  describe(`${name}: what we let the peer send`, () => {
    /** Grants nothing. */
    const miser = () => new RecordingService('/test.Miser/Keep', {})
    const unfinished = (bytes: number): Buffer => {
      const message = Buffer.alloc(bytes)
      message.writeUInt32BE(1_000_000, 1)
      return message
    }

    it('a byte more than the window of a stream', async () => {
      const keep = miser()
      const server = await harness.serve([keep, echo])
      const client = await harness.raw(server)
      client.write(headers(1, callBlock(keep.path)))
      client.write(
        ...Array.from({ length: 4 }, (_, at) =>
          data(1, at === 0 ? unfinished(16_384) : Buffer.alloc(at === 3 ? 16_383 : 16_384)),
        ),
      )
      await settled(client)
      expect(resetCode(client, 1)).toBeUndefined()
      client.write(data(1, Buffer.alloc(1)))
      await client.until(() => resetCode(client, 1) === FLOW_CONTROL_ERROR)
      expect(keep.last.closings).toEqual([StreamEnd.RESET])
      await exchange(client, 3, echo.path)
    })

    it('padding counts, and is given back', async () => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      client.write(headers(1, callBlock(echo.path)))
      const message = Buffer.from(frameMessage(Buffer.from('x')))
      for (let sent = 0; sent < 1000; sent++) {
        client.write(paddedData(1, message, 250))
        await client.until(() => client.of(FrameType.DATA, 1).length > 0)
        client.frames.length = 0
      }
      client.write(data(1, Buffer.alloc(0), END_STREAM))
      await client.until(() => ended(client, 1))
    })

    it('more than the window of the connection', async () => {
      const keep = miser()
      const server = await harness.serve([keep, echo], { connectionWindow: 100_000 })
      await besides(harness, server, async () => {
        const client = await harness.raw(server)
        for (let stream = 1; stream < 80; stream += 2) client.write(headers(stream, callBlock(keep.path)))
        // One read of the server takes all of it, before it can have given anything back that we count on.
        const burst = Array.from({ length: 40 }, (_, at) => data(2 * at + 1, unfinished(16_384)))
        client.write(...burst)
        await Promise.race([settled(client), over(client)]).catch(() => {})
        // Allowed as well: the server gave the window back while it read.
        if (client.closed) expect(goawayCode(client)).toBe(FLOW_CONTROL_ERROR)
      })
    })

    it('DATA that nobody wants does not use up the window of the connection', async () => {
      const server = await harness.serve([echo], { connectionWindow: 200_000 })
      const client = await harness.raw(server)
      const body = Array.from({ length: 3 }, () => data(0, Buffer.alloc(16_384)))
      for (let stream = 1; stream < 80; stream += 2) {
        // Refused, then 48 KiB all the same.
        client.write(headers(stream, callBlock('/test.Nobody/Home')))
        for (const part of body) {
          part.writeUInt32BE(stream, 5)
          client.write(part)
        }
        await settled(client)
      }
      expect(goawayCode(client)).toBeUndefined()
      const given = client
        .of(FrameType.WINDOW_UPDATE, 0)
        .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 65_535)
      expect(given).toBeGreaterThan(40 * 3 * 16_384)
      await exchange(client, 81, echo.path)
    })

    it('frames of 16 MiB are refused by their head', async () => {
      const server = await harness.serve([echo])
      await besides(harness, server, async () => {
        const client = await harness.raw(server)
        const giant = frame(FrameType.DATA, 0, 1)
        giant.writeUIntBE(0xffffff, 0, 3)
        client.write(headers(1, callBlock(echo.path)), giant)
        await over(client)
        expect(goawayCode(client)).toBe(ErrorCode.FRAME_SIZE_ERROR)
      })
    })
  })
}
