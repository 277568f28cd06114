/** Connections that are no HTTP/2, not quite, or not alive, and frames that come too late. */
import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { describe, expect, it } from '@jest/globals'
import { ErrorCode, PADDED, data, goaway, headers, ping, priority, settings, windowUpdate } from '../frames.ts'
import { ended } from '../harness.ts'
import type { Harness } from '../harness.ts'
import {
  END_HEADERS,
  END_STREAM,
  FrameType,
  PREFACE,
  RawHttp2Client,
  frame,
  headerBlock,
  resetFrame,
} from '../raw-http2-client.ts'
import { RecordingService, eventually } from '../recording-service.ts'
import { besides, callBlock, exchange, goawayCode, over, resetCode } from './bystander.ts'

const { PROTOCOL_ERROR, REFUSED_STREAM, CANCEL } = ErrorCode

export function oddConnectionsSuite(name: string, harness: Harness): void {
  const { echo } = harness
  const { path } = echo

  function tcp(port: number): Socket {
    const socket = connectTcp(port, '127.0.0.1')
    harness.afterwards(() => socket.destroy())
    return socket.on('error', () => {})
  }

  const end = (socket: Socket): Promise<unknown> => new Promise(resolve => socket.resume().once('close', resolve))

  describe(`${name}: connections that are no HTTP/2`, () => {
    it.each([
      ['HTTP/1.1', Buffer.from('POST /test HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc')],
      [
        'an HTTP/1.1 upgrade to h2c',
        Buffer.from(
          'GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n',
        ),
      ],
      ['a preface whose last byte is wrong', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\rX')],
      ['zeros', Buffer.alloc(100_000)],
      ['a proxy protocol header', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n')],
    ])('%s', async (_, bytes) => {
      const server = await harness.serve([echo])
      await besides(harness, server, async () => {
        const socket = tcp(server.port)
        socket.write(bytes)
        await end(socket)
      })
    })

    it('TLS on a plaintext port', async () => {
      const server = await harness.serve([echo])
      await besides(harness, server, async () => {
        const socket = connectTls({
          port: server.port,
          host: '127.0.0.1',
          ALPNProtocols: ['h2'],
          rejectUnauthorized: false,
        })
        harness.afterwards(() => socket.destroy())
        const error = await new Promise<Error>(resolve => socket.once('error', resolve))
        expect(error.message).not.toBe('')
      })
    })

    it.each([
      ['PING', ping()],
      ['HEADERS', headers(1, callBlock(path), END_STREAM)],
      ['SETTINGS ACK', frame(FrameType.SETTINGS, 1, 0)],
    ])('%s as the first frame', async (_, first) => {
      const server = await harness.serve([echo])
      const client = await RawHttp2Client.open(server.port)
      harness.afterwards(() => client.destroy())
      client.write(PREFACE, first)
      await over(client)
      expect(goawayCode(client)).toBe(PROTOCOL_ERROR)
    })
  })

  describe(`${name}: connections that are not alive`, () => {
    it.each([
      ['nothing is ever sent', Buffer.alloc(0)],
      ['half of the preface', PREFACE.subarray(0, 12)],
      ['half of a frame', Buffer.concat([PREFACE, settings().subarray(0, 5)])],
      [
        'a header block that is never finished',
        Buffer.concat([PREFACE, settings(), frame(FrameType.HEADERS, 0, 1, callBlock(path))]),
      ],
    ])('%s: closed when keepalive finds out', async (_, bytes) => {
      const server = await harness.serve([echo], { keepaliveMs: 60 })
      await besides(harness, server, async () => {
        const socket = tcp(server.port)
        if (bytes.length > 0) socket.write(bytes)
        await end(socket)
      })
    })

    it('a peer that leaves while its calls are under way', async () => {
      const keep = new RecordingService('/test.Miser/Keep', {})
      const server = await harness.serve([echo, keep])
      await besides(harness, server, async () => {
        for (let round = 0; round < 50; round++) {
          const client = await harness.raw(server)
          client.write(headers(1, callBlock(keep.path)), headers(3, callBlock(keep.path)))
          await client.until(() => client.of(FrameType.SETTINGS).length === 2)
          client.destroy()
        }
        await eventually(() => keep.opened.length === 100 && keep.opened.every(({ closings }) => closings.length === 1))
        await eventually(() => server.streams <= 1)
      })
    })

    it('SETTINGS that are never acknowledged: calls work, with the windows of HTTP/2 itself', async () => {
      const server = await harness.serve([echo], { initialWindow: 20_000 })
      const socket = tcp(server.port)
      let bytes = Buffer.alloc(0)
      socket.on('data', chunk => {
        bytes = Buffer.concat([bytes, chunk])
      })
      const message = Buffer.alloc(16_384)
      message.writeUInt32BE(16_379, 1)
      socket.write(
        Buffer.concat([
          PREFACE,
          settings(),
          windowUpdate(0, 1_000_000),
          headers(1, callBlock(path)),
          data(1, message),
          data(1, message, END_STREAM),
        ]),
      )
      await eventually(() => bytes.length > 2 * 16_384)
    })

    it('connections over the limit are closed, those that are there stay', async () => {
      const server = await harness.serve([echo], { maxConnections: 3 })
      const clients = [await harness.raw(server), await harness.raw(server), await harness.raw(server)]
      for (const client of clients) await exchange(client, 1, path)
      await end(tcp(server.port))
      for (const client of clients) await exchange(client, 3, path)
    })
  })

  describe(`${name}: streams that are refused, and late frames`, () => {
    it('more streams than allowed: each is refused, the others go on', async () => {
      const keep = new RecordingService('/test.Miser/Keep', { halfClosed: ({ stream }) => stream.end(0) })
      const server = await harness.serve([keep], { maxConcurrentStreams: 10 })
      const client = await harness.raw(server)
      for (let stream = 1; stream < 100; stream += 2) client.write(headers(stream, callBlock(keep.path)))
      await client.until(() => client.of(FrameType.RST_STREAM).length === 40)
      expect(new Set(client.of(FrameType.RST_STREAM).map(({ payload }) => payload.readUInt32BE(0)))).toEqual(
        new Set([REFUSED_STREAM]),
      )
      expect(server.streams).toBe(10)
      for (let stream = 1; stream < 20; stream += 2) client.write(data(stream, Buffer.alloc(0), END_STREAM))
      await client.until(() => Array.from({ length: 10 }, (_, at) => 2 * at + 1).every(stream => ended(client, stream)))
    })

    it('whatever follows a stream that we have reset is ignored', async () => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      client.write(headers(1, callBlock(path)), windowUpdate(1, 0))
      await client.until(() => resetCode(client, 1) !== undefined)
      client.write(
        data(1, Buffer.alloc(100)),
        windowUpdate(1, 100),
        priority(1, 0),
        headers(1, headerBlock([['x-trailer', '1']]), END_STREAM),
        resetFrame(1, CANCEL),
      )
      await exchange(client, 3, path)
      expect(client.of(FrameType.RST_STREAM)).toHaveLength(1)
      expect(goawayCode(client)).toBeUndefined()
    })

    it.each([
      ['to itself', priority(7, 7), PROTOCOL_ERROR],
      ['of 4 bytes', frame(FrameType.PRIORITY, 0, 7, Buffer.alloc(4)), ErrorCode.FRAME_SIZE_ERROR],
    ])('PRIORITY %s on an idle stream: that cannot be reset (fuzz)', async (_, bytes, code) => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      client.write(bytes)
      await over(client)
      expect(goawayCode(client)).toBe(code)
      expect(client.of(FrameType.RST_STREAM)).toEqual([])
    })

    it("a client's GOAWAY is about streams of ours: its own go on, and the connection ends when it has none", async () => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      await client.until(() => client.of(FrameType.SETTINGS).length === 2)
      client.write(goaway(0, 0))
      await exchange(client, 1, path)
      await exchange(client, 3, path)
      await over(client)
      expect(goawayCode(client)).toBeUndefined()
    })

    it.each([
      ['DATA', (length: number) => frame(FrameType.DATA, PADDED, 1, Buffer.from([length, 0, 0, 0]))],
      [
        'HEADERS',
        (length: number) => {
          const trailers = Buffer.concat([Buffer.from([length]), Buffer.alloc(3)])
          return frame(FrameType.HEADERS, PADDED | END_HEADERS | END_STREAM, 1, trailers)
        },
      ],
    ])('padding may fill all of %s, and not one byte more', async (_, make) => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      client.write(headers(1, callBlock(path)), make(3))
      await exchange(client, 3, path)
      expect(client.of(FrameType.RST_STREAM)).toEqual([])
      const other = await harness.raw(server)
      other.write(headers(1, callBlock(path)), make(4))
      await over(other)
      expect(goawayCode(other)).toBe(PROTOCOL_ERROR)
    })

    it('late frames of a call that is over are no mistake', async () => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      await exchange(client, 1, path)
      client.write(windowUpdate(1, 100), resetFrame(1, CANCEL), priority(1, 0))
      await exchange(client, 3, path)
      expect(client.of(FrameType.RST_STREAM)).toEqual([])
    })

    it('after the final GOAWAY, calls that came too late do not disturb those under way', async () => {
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      client.write(headers(1, callBlock(path)))
      await eventually(() => server.streams === 1)
      const drained = server.drain(60_000)
      await client.until(() => client.of(FrameType.GOAWAY).some(({ payload }) => payload.readUInt32BE(0) === 1))
      // Sent before the client had read it.
      client.write(
        headers(3, callBlock(path)),
        data(3, Buffer.alloc(5)),
        windowUpdate(3, 5),
        headers(3, headerBlock([['x', '1']]), END_STREAM),
      )
      client.write(headers(5, callBlock(path)), resetFrame(5, CANCEL))
      client.write(data(1, Buffer.alloc(5), END_STREAM))
      await client.until(() => ended(client, 1))
      await over(client)
      expect(client.of(FrameType.GOAWAY).every(({ payload }) => payload.readUInt32BE(4) === 0)).toBe(true)
      await drained
    })
  })
}
