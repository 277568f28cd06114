/** What is refused, and how. */
import { connect } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { status as Status } from '@grpc/grpc-js'
import { describe, expect, it } from '@jest/globals'
import { frameMessage } from '../framing.ts'
import { GrpcStatus, StreamEnd } from '../transport.ts'
import { ended } from './harness.ts'
import type { Harness } from './harness.ts'
import { END_STREAM, FrameType, frame, grpcRequest, headersFrame } from './raw-http2-client.ts'
import { RecordingService } from './recording-service.ts'

export function refusalsSuite(name: string, harness: Harness): void {
  const { echo } = harness

  describe(`${name}: requests that are refused`, () => {
    it.each([
      ['an unknown method', { ':path': '/test.Echo/Nope' }, GrpcStatus.UNIMPLEMENTED, 'unknown method /test.Echo/Nope'],
      ['a malformed timeout', { 'grpc-timeout': '5 parsecs' }, GrpcStatus.INTERNAL, 'malformed grpc-timeout'],
    ])('%s: trailers-only', async (_name, change, status, message) => {
      const server = await harness.serve([echo])
      const session = connect(`http://${server.address}`)
      harness.afterwards(() => session.destroy())
      const request = session.request({ ...grpcRequest(echo.path), ...change })
      const trailersOnly = await new Promise<[Record<string, unknown>, number]>(resolve =>
        request.once('response', (headers, flags) => resolve([headers, flags])),
      )
      expect(trailersOnly[0]).toMatchObject({ ':status': 200, 'grpc-status': String(status), 'grpc-message': message })
      expect(trailersOnly[1] & END_STREAM).toBe(END_STREAM)
    })

    it.each([
      ['405 for a GET', { ':method': 'GET' }, '405'],
      ['415 for JSON', { 'content-type': 'application/json' }, '415'],
      ['415 for gRPC-Web', { 'content-type': 'application/grpc-web+proto' }, '415'],
      ['415 without a content type', { 'content-type': '' }, '415'],
    ])('%s', async (_name, change, expected) => {
      const server = await harness.serve([echo])
      const session = connect(`http://${server.address}`)
      harness.afterwards(() => session.destroy())
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
        const server = await harness.serve([echo])
        const client = await harness.raw(server)
        client.write(headersFrame(1, { ...grpcRequest(echo.path), 'content-type': type }, END_STREAM))
        await client.until(() => ended(client, 1))
        expect(server.errors).toEqual([])
        expect(client.of(FrameType.HEADERS, 1)).toHaveLength(1)
      },
    )

    it('ends the connection of a client that speaks HTTP/1, and lives on', async () => {
      const server = await harness.serve([echo])
      const socket = connectTcp(server.port, '127.0.0.1')
      socket.on('error', () => {})
      socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
      await new Promise(resolve => socket.resume().once('close', resolve))
      const call = harness.call(server, echo.path)
      call.stream.end()
      expect((await call.status).code).toBe(Status.OK)
    })

    it('resets a stream with too many header bytes', async () => {
      const server = await harness.serve([echo], { maxHeaderListBytes: 4096 })
      const client = await harness.raw(server)
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
      const server = await harness.serve([small])
      const session = connect(`http://${server.address}`)
      harness.afterwards(() => session.destroy())
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
      const server = await harness.serve([echo])
      const client = await harness.raw(server)
      client.write(
        headersFrame(1, grpcRequest(echo.path)),
        frame(FrameType.DATA, END_STREAM, 1, Buffer.from([0, 0, 0, 0, 9, 1])),
      )
      await client.until(() => ended(client, 1))
      expect(echo.last.closings).toEqual([StreamEnd.RESET])
    })
  })
}
