/** What every implementation of the transport seam must do; each one's test calls it. */
import { connect as connectTcp } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Metadata, credentials, status as Status } from '@grpc/grpc-js'
import type { ClientDuplexStream, ServiceError, StatusObject } from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from '@jest/globals'
import { frameMessage } from './framing.ts'
import type { Http2TransportOptions } from './http2-transport.ts'
import {
  END_STREAM,
  FrameType,
  RawHttp2Client,
  frame,
  grpcRequest,
  headersFrame,
  resetFrame,
} from './raw-http2-client.ts'
import { RecordingService, eventually } from './recording-service.ts'
import { GrpcStatus, StreamEnd } from './transport.ts'
import type { TransportServer } from './transport.ts'

type Listen = (options: Http2TransportOptions) => Promise<TransportServer>

const same = (bytes: Buffer): Buffer => bytes
const INTERNAL_ERROR = 2

export function transportSuite(name: string, listen: Listen): void {
  const cleanups: (() => unknown)[] = []
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
  })

  /** Echoes each message, and ends when the client does. */
  const echo = new RecordingService('/test.Echo/Run', {
    part: ({ stream }, part) => stream.grant(part.length),
    message: ({ stream }, message) => stream.send(frameMessage(message)),
    halfClosed: ({ stream }) => stream.end(GrpcStatus.OK),
  })

  async function serve(
    services: readonly RecordingService[],
    options: Partial<Http2TransportOptions> = {},
  ): Promise<TransportServer & { errors: unknown[] }> {
    const errors: unknown[] = []
    const server = await listen({
      services,
      listen: { host: '127.0.0.1', port: 0 },
      onError: error => errors.push(error),
      ...options,
    })
    cleanups.push(() => server.close())
    return Object.assign(server, { errors })
  }

  async function raw(server: TransportServer, settings?: Uint8Array): Promise<RawHttp2Client> {
    const client = await RawHttp2Client.connect(server.port, settings)
    cleanups.push(() => client.destroy())
    return client
  }

  function grpcCall(server: TransportServer, path: string, metadata = new Metadata()): GrpcCall {
    const client = new Client(server.address, credentials.createInsecure())
    cleanups.push(() => client.close())
    return collect(client.makeBidiStreamRequest<Buffer, Buffer>(path, same, same, metadata))
  }

  /** Payloads of the DATA frames of a stream. */
  const received = (client: RawHttp2Client, stream: number): Buffer =>
    Buffer.concat(client.of(FrameType.DATA, stream).map(({ payload }) => payload))

  const ended = (client: RawHttp2Client, stream: number): boolean =>
    client.frames.some(({ stream: id, flags, type }) => id === stream && type <= 1 && (flags & END_STREAM) !== 0)

  describe(`${name}: calls`, () => {
    it('echoes messages of many sizes to a grpc-js client', async () => {
      const server = await serve([echo])
      const call = grpcCall(server, echo.path)
      const sizes = [0, 1, 5, 16_379, 16_384, 40_000]
      for (const size of sizes) call.stream.write(Buffer.alloc(size, size % 251))
      call.stream.end()
      expect((await call.status).code).toBe(Status.OK)
      expect(call.messages).toEqual(sizes.map(size => Buffer.alloc(size, size % 251)))
      expect(echo.last.closings).toEqual([StreamEnd.HALF_CLOSED])
      expect(echo.last.headers[':path']).toBe(echo.path)
    })

    it('understands messages cut into DATA frames at any byte', async () => {
      const server = await serve([echo])
      const client = await raw(server)
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
      const server = await serve([echo])
      const socket = connectTcp(server.port, '127.0.0.1')
      cleanups.push(() => socket.destroy())
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
      const server = await serve([echo])
      const client = await raw(server)
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
      const server = await serve([burst])
      const client = await raw(server)
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
      const server = await serve([mixed])
      const call = grpcCall(server, mixed.path)
      call.stream.write(Buffer.from('x'))
      expect(await call.status).toMatchObject({ code: Status.OK, details: 'all of it' })
      expect(call.messages).toEqual(sizes.map(size => Buffer.alloc(size, size % 256)))
    })

    it('answers later, outside of any call', async () => {
      const later = new RecordingService('/test/Later', {})
      const server = await serve([later])
      const call = grpcCall(server, later.path)
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
      const server = await serve([refusing])
      const client = await raw(server)
      client.write(headersFrame(1, grpcRequest(refusing.path)))
      await client.until(() => client.of(FrameType.RST_STREAM, 1).length > 0)
      expect(client.of(FrameType.HEADERS, 1)).toHaveLength(1)
      expect(client.of(FrameType.HEADERS, 1)[0]!.flags & END_STREAM).toBe(END_STREAM)
      expect(client.of(FrameType.RST_STREAM, 1)[0]!.payload).toEqual(Buffer.alloc(4))
      client.write(frame(FrameType.DATA, 0, 1, frameMessage(Buffer.alloc(100))))
      expect(await grpcCall(server, refusing.path).status).toMatchObject({
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
      const server = await serve([once])
      const client = await raw(server)
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

  describe(`${name}: requests that are refused`, () => {
    it.each([
      ['unknown method', { ':path': '/test.Echo/Nope' }, 'unknown method /test.Echo/Nope'],
      ['malformed timeout', { 'grpc-timeout': '5 parsecs' }, 'malformed grpc-timeout'],
    ])('%s: trailers-only', async (_name, change, message) => {
      const server = await serve([echo])
      const client = await raw(server)
      client.write(headersFrame(1, { ...grpcRequest(echo.path), ...change }))
      await client.until(() => ended(client, 1))
      const [answer] = client.of(FrameType.HEADERS, 1)
      expect(answer!.flags & END_STREAM).toBe(END_STREAM)
      const path = change[':path' as keyof typeof change] ?? echo.path
      const metadata = new Metadata()
      if ('grpc-timeout' in change) return
      expect(await grpcCall(server, path, metadata).status).toMatchObject({
        code: Status.UNIMPLEMENTED,
        details: message,
      })
    })

    it.each([
      ['405 for a GET', { ':method': 'GET' }, '405'],
      ['415 for JSON', { 'content-type': 'application/json' }, '415'],
      ['415 for gRPC-Web', { 'content-type': 'application/grpc-web+proto' }, '415'],
      ['415 without a content type', { 'content-type': '' }, '415'],
    ])('%s', async (_name, change, expected) => {
      const server = await serve([echo])
      const { connect } = await import('node:http2')
      const session = connect(`http://${server.address}`)
      cleanups.push(() => session.destroy())
      const request = session.request({ ...grpcRequest(echo.path), ...change })
      const headers = await new Promise<Record<string, unknown>>(resolve => request.once('response', resolve))
      expect(String(headers[':status'])).toBe(expected)
      request.resume()
      await new Promise(resolve => request.once('close', resolve))
      expect(server.streams).toBe(0)
    })

    it.each(['application/grpc', 'application/grpc+proto', 'application/grpc;charset=utf-8', 'Application/GRPC'])(
      'takes content-type %s',
      async type => {
        const server = await serve([echo])
        const client = await raw(server)
        client.write(headersFrame(1, { ...grpcRequest(echo.path), 'content-type': type }, END_STREAM))
        await client.until(() => ended(client, 1))
        expect(server.errors).toEqual([])
        expect(client.of(FrameType.HEADERS, 1)).toHaveLength(1)
      },
    )

    it('ends the connection of a client that speaks HTTP/1, and lives on', async () => {
      const server = await serve([echo])
      const socket = connectTcp(server.port, '127.0.0.1')
      socket.on('error', () => {})
      socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
      await new Promise(resolve => socket.resume().once('close', resolve))
      const call = grpcCall(server, echo.path)
      call.stream.end()
      expect((await call.status).code).toBe(Status.OK)
    })

    it('resets a stream with too many header bytes', async () => {
      const server = await serve([echo], { maxHeaderListBytes: 4096 })
      const client = await raw(server)
      // Limits hold from the moment that the client has acknowledged them.
      await client.until(() => client.of(FrameType.SETTINGS).length > 0)
      client.write(headersFrame(1, { ...grpcRequest(echo.path), big: 'x'.repeat(8000) }))
      await client.until(() => client.of(FrameType.RST_STREAM, 1).length > 0)
      client.write(headersFrame(3, grpcRequest(echo.path), END_STREAM))
      await client.until(() => ended(client, 3))
    })
  })

  describe(`${name}: messages that are refused`, () => {
    const cases: [string, Buffer, Record<string, string>, GrpcStatus][] = [
      ['too long', frameMessage(Buffer.alloc(101)) as Buffer, {}, GrpcStatus.RESOURCE_EXHAUSTED],
      ['compressed', Buffer.from([1, 0, 0, 0, 1, 9]), { 'grpc-encoding': 'gzip' }, GrpcStatus.UNIMPLEMENTED],
      ['compressed without an encoding', Buffer.from([1, 0, 0, 0, 1, 9]), {}, GrpcStatus.INTERNAL],
      ['compressed as identity', Buffer.from([1, 0, 0, 0, 1, 9]), { 'grpc-encoding': 'identity' }, GrpcStatus.INTERNAL],
      ['undefined flags', Buffer.from([64, 0, 0, 0, 1, 9]), {}, GrpcStatus.INTERNAL],
    ]
    it.each(cases)('%s', async (_name, bytes, headers, expected) => {
      const small = new RecordingService('/test/Small', {}, 100)
      const server = await serve([small])
      const { connect } = await import('node:http2')
      const session = connect(`http://${server.address}`)
      cleanups.push(() => session.destroy())
      const request = session.request({ ...grpcRequest(small.path), ...headers })
      request.on('error', () => {})
      request.write(frameMessage(Buffer.alloc(100)))
      request.write(bytes)
      const response = await new Promise<Record<string, unknown>>(resolve => request.once('response', resolve))
      expect(response['grpc-status']).toBe(String(expected))
      if (expected === GrpcStatus.UNIMPLEMENTED) expect(response['grpc-accept-encoding']).toBe('identity')
      expect(small.last.messages).toHaveLength(1)
      expect(small.last.closings).toEqual([StreamEnd.RESET])
    })

    it('a message that the end of the stream cuts off', async () => {
      const server = await serve([echo])
      const client = await raw(server)
      client.write(
        headersFrame(1, grpcRequest(echo.path)),
        frame(FrameType.DATA, END_STREAM, 1, Buffer.from([0, 0, 0, 0, 9, 1])),
      )
      await client.until(() => ended(client, 1))
      expect(echo.last.closings).toEqual([StreamEnd.RESET])
    })
  })

  describe(`${name}: ends`, () => {
    it('reports a reset once, at whatever moment it comes', async () => {
      const busy = new RecordingService('/test/Busy', {
        message: ({ stream }, message) => stream.send(frameMessage(message)),
      })
      const server = await serve([busy])
      const client = await raw(server)
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
      const server = await serve([echo])
      const client = await raw(server)
      client.write(headersFrame(1, grpcRequest(echo.path), END_STREAM), resetFrame(1, INTERNAL_ERROR))
      client.write(headersFrame(3, grpcRequest(echo.path), END_STREAM))
      await client.until(() => ended(client, 3))
      client.write(resetFrame(3, INTERNAL_ERROR))
      await eventually(() => server.streams === 0)
      expect(echo.last.closings).toEqual([StreamEnd.HALF_CLOSED])
    })

    it('reports a lost connection', async () => {
      const idle = new RecordingService('/test/Idle', {})
      const server = await serve([idle])
      const client = await raw(server)
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
      const server = await serve([service])
      const client = await raw(server)
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
      const server = await serve([service])
      const client = await raw(server)
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
      const server = await serve([failing])
      const call = grpcCall(server, failing.path)
      call.stream.write(Buffer.from('x'))
      call.stream.end()
      expect(await call.status).toMatchObject({ code: Status.INTERNAL, details: 'internal error' })
      expect(call.messages).toEqual([])
      expect(server.errors).toEqual([new Error('a bug')])
      expect((await grpcCall(server, '/test/Other').status).code).toBe(Status.UNIMPLEMENTED)
    })

    it('keeps the client to its deadline', async () => {
      const idle = new RecordingService('/test/Idle', {})
      const server = await serve([idle])
      const client = await raw(server)
      client.write(headersFrame(1, { ...grpcRequest(idle.path), 'grpc-timeout': '20m' }))
      await client.until(() => ended(client, 1))
      expect(idle.last.closings).toEqual([StreamEnd.RESET])
      client.write(headersFrame(3, { ...grpcRequest(echo.path), 'grpc-timeout': '99999999H' }, END_STREAM))
      await client.until(() => ended(client, 3))
    })
  })

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
      const server = await serve([sink, echo])
      const client = await raw(server)
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
      const server = await serve([sink])
      const client = await raw(server)
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
      const server = await serve([willing])
      const call = grpcCall(server, willing.path)
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
      const server = await serve([willing])
      const call = grpcCall(server, willing.path)
      call.stream.write(Buffer.alloc(3_000_000))
      expect((await call.status).code).toBe(Status.OK)
    })

    it('counts what a slow reader leaves, tells when it is gone, and resets the stream at the cap', async () => {
      const talker = new RecordingService('/test/Talk', {})
      const server = await serve([talker], { maxStreamPendingBytes: 1_000_000 })
      const client = await raw(server)
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
      const server = await serve([talker], { maxConnectionPendingBytes: 1_000_000, maxConcurrentStreams: 100 })
      const client = await raw(server)
      client.write(...Array.from({ length: 15 }, (_value, i) => headersFrame(2 * i + 1, grpcRequest(talker.path))))
      await eventually(() => talker.opened.filter(({ closings }) => closings.length > 0).length === 5)
      await sleep(20)
      expect(talker.opened.filter(({ closings }) => closings.length === 0)).toHaveLength(10)
    })
  })
}

interface GrpcCall {
  readonly stream: ClientDuplexStream<Buffer, Buffer>
  readonly messages: Buffer[]
  readonly status: Promise<StatusObject | ServiceError>
}

function collect(stream: ClientDuplexStream<Buffer, Buffer>): GrpcCall {
  const messages: Buffer[] = []
  stream.on('data', (message: Buffer) => messages.push(message))
  // Every bad status is also emitted as an error.
  stream.on('error', () => {})
  const status = new Promise<StatusObject>(resolve => stream.once('status', resolve))
  return { stream, messages, status }
}
