import { beforeEach, describe, expect, it, jest } from '@jest/globals'
import { bytesInUse, bytesKeptSince } from '../suite/kept-memory.ts'
import { frameMessage } from '../framing.ts'
import { END_STREAM, FrameType, frame, grpcRequest, headersFrame, resetFrame } from '../suite/raw-http2-client.ts'
import { RecordingService } from '../suite/recording-service.ts'
import { GrpcStatus, StreamEnd } from '../transport.ts'
import { TRUSTED, UNTRUSTED } from './flood-guard.ts'
import type { FloodLimits } from './flood-guard.ts'
import { PREFACE } from './frame.ts'
import { H2Connection } from './h2-connection.ts'
import { SendQueue } from './send-queue.ts'
import { settingsFrame } from './settings.ts'
import type { Wire } from './wire.ts'

/** A socket that takes so many bytes and no more. */
class MemoryWire implements Wire {
  readonly written: Buffer[] = []
  writes = 0
  pendingBytes = 0
  room = Number.POSITIVE_INFINITY
  ended = false

  write(pieces: readonly Uint8Array[]): boolean {
    this.writes++
    for (const piece of pieces) {
      this.written.push(Buffer.from(piece))
      this.room -= piece.length
    }
    if (this.room < 0) {
      this.pendingBytes -= this.room
      this.room = 0
    }
    return this.pendingBytes === 0
  }

  end(): void {
    this.ended = true
  }

  destroy(): void {
    this.ended = true
  }

  /** Type, flags, stream id and payload of everything that was written. */
  frames(): (readonly [number, number, number, Buffer])[] {
    const bytes = Buffer.concat(this.written)
    const frames: (readonly [number, number, number, Buffer])[] = []
    for (let at = 0; at < bytes.length; ) {
      const end = at + 9 + bytes.readUIntBE(at, 3)
      frames.push([bytes[at + 3]!, bytes[at + 4]!, bytes.readUInt32BE(at + 5), bytes.subarray(at + 9, end)])
      at = end
    }
    return frames
  }
}

const PATH = '/test/Run'

describe('a connection in memory', () => {
  let wire: MemoryWire
  let service: RecordingService
  let failures: string[]

  beforeEach(() => {
    wire = new MemoryWire()
    failures = []
    service = new RecordingService(PATH, {
      message: ({ stream }, message) => {
        stream.send(frameMessage(message))
        stream.end(GrpcStatus.OK)
      },
    })
  })

  const connect = (limits: FloodLimits = TRUSTED): H2Connection => {
    const own = { initialWindow: 65_535, maxConcurrentStreams: 100, maxHeaderListBytes: 65_536 }
    const connection = new H2Connection(
      wire,
      {
        services: new Map([[PATH, service]]),
        own,
        settings: settingsFrame(own),
        prefaceMs: 5000,
        connectionWindow: 1024 * 1024,
        maxStreamPendingBytes: 1024 * 1024,
        maxConnectionPendingBytes: 4 * 1024 * 1024,
        handlerFailed: error => failures.push(String(error)),
        connectionFailed: why => failures.push(why),
        connectionEnded: () => {},
      },
      limits,
    )
    connection.receive(Buffer.concat([PREFACE, frame(FrameType.SETTINGS, 0, 0)]))
    wire.written.length = 0
    wire.writes = 0
    return connection
  }
  /** As Envoy sends a small exchange: headers, message and end together. */
  const exchange = (id: number, body = 'hello'): Buffer =>
    Buffer.concat([
      headersFrame(id, grpcRequest(PATH)),
      frame(FrameType.DATA, END_STREAM, id, frameMessage(Buffer.from(body))),
    ])

  it('answers all streams of a read in one write', () => {
    const connection = connect()
    connection.receive(Buffer.concat([exchange(1), exchange(3), exchange(5)]))
    expect(wire.writes).toBe(1)
    expect(wire.frames().map(([type, flags, id]) => [type, flags, id])).toEqual(
      [1, 3, 5].flatMap(id => [
        [FrameType.HEADERS, 4, id],
        [FrameType.DATA, 0, id],
        [FrameType.HEADERS, 5, id],
      ]),
    )
  })

  it('tells when the peer ends its side of a stream that was ended, and not when it resets it or never was answered', () => {
    const connection = connect()
    const call = (id: number) =>
      Buffer.concat([headersFrame(id, grpcRequest(PATH)), frame(FrameType.DATA, 0, id, frameMessage(Buffer.from('x')))])
    const end = (id: number) => frame(FrameType.DATA, END_STREAM, id)
    connection.receive(call(1))
    connection.receive(call(3))
    expect(service.opened.map(({ peerEndedCalls }) => peerEndedCalls)).toEqual([0, 0])
    connection.receive(end(1))
    connection.receive(frame(FrameType.RST_STREAM, 0, 3, Buffer.from([0, 0, 0, 8])))
    connection.receive(Buffer.concat([headersFrame(5, grpcRequest(PATH)), end(5)]))
    connection.receive(Buffer.concat([call(7), end(7)]))
    expect(service.opened.map(({ peerEndedCalls }) => peerEndedCalls)).toEqual([1, 0, 0, 1])
    expect(service.opened.map(({ closings }) => closings)).toEqual([[], [], [StreamEnd.HALF_CLOSED], []])
  })

  it('says nothing of a peer that ends its side of a stream that ended with an error', () => {
    service = new RecordingService(PATH, { message: ({ stream }) => stream.end(GrpcStatus.INTERNAL, 'no') })
    const connection = connect()
    connection.receive(exchange(1))
    expect(service.last.peerEndedCalls).toBe(0)
  })

  it('gives the same frames however the bytes are cut', () => {
    const bytes = Buffer.concat([exchange(1), frame(FrameType.PING, 0, 0, Buffer.from('12345678')), exchange(3)])
    connect().receive(bytes)
    const whole = wire.frames()
    for (const size of [1, 2, 3, 7, 50]) {
      wire = new MemoryWire()
      const connection = connect()
      for (let at = 0; at < bytes.length; at += size) connection.receive(bytes.subarray(at, at + size))
      expect(wire.frames()).toEqual(whole)
    }
  })

  it('a thousand answers of one stream that cannot be sent are looked at once a read', () => {
    service = new RecordingService(PATH, { message: ({ stream }, message) => stream.send(frameMessage(message)) })
    const connection = connect()
    connection.receive(frame(FrameType.SETTINGS, 0, 0, Buffer.from('000400000000', 'hex')))
    connection.receive(headersFrame(1, grpcRequest(PATH)))
    const own = jest.spyOn(SendQueue.prototype, 'own')
    const tiny = frame(FrameType.DATA, 0, 1, frameMessage(Buffer.from('x')))
    for (let read = 0; read < 3; read++) connection.receive(Buffer.concat(Array.from({ length: 1000 }, () => tiny)))
    expect(own).toHaveBeenCalledTimes(3)
    own.mockRestore()
    wire.written.length = 0
    connection.receive(frame(FrameType.WINDOW_UPDATE, 0, 1, Buffer.from([0, 1, 0, 0])))
    const data = wire.frames().filter(([type]) => type === FrameType.DATA)
    expect(Buffer.concat(data.map(([, , , payload]) => payload))).toHaveLength(3000 * 6)
  })

  it('new windows cost as much as they touch streams', () => {
    const toggles = Buffer.concat(
      Array.from({ length: 200 }, (_, at) => frame(FrameType.SETTINGS, 0, 0, Buffer.from([0, 4, 0, 0, 0, at & 1]))),
    )
    const idle = connect(UNTRUSTED)
    idle.receive(toggles)
    expect(wire.ended).toBe(false)
    const busy = connect(UNTRUSTED)
    for (let id = 1; id < 200; id += 2) busy.receive(headersFrame(id, grpcRequest(PATH)))
    expect(busy.streamCount).toBe(100)
    busy.receive(toggles)
    expect(wire.ended).toBe(true)
    expect(failures).toEqual(['too many frames that ask for nothing'])
  })

  it('what was lent is copied when it cannot be sent at once', () => {
    service = new RecordingService(PATH, { part: ({ stream }, part) => stream.send(part) })
    const lending = connect()
    // The peer allows 5 bytes of the answer, and the read buffer is used again.
    lending.receive(frame(FrameType.SETTINGS, 0, 0, Buffer.from('000400000005', 'hex')))
    wire.written.length = 0
    const read = exchange(1, 'abcdefghij')
    lending.receive(read)
    read.fill('x')
    lending.receive(frame(FrameType.WINDOW_UPDATE, 0, 1, Buffer.from([0, 0, 1, 0])))
    const data = wire.frames().filter(([type]) => type === FrameType.DATA)
    expect(Buffer.concat(data.map(([, , , payload]) => payload)).toString()).toBe('abcdefghij')
    expect(data.length).toBe(2)
  })

  it('the first block behind a smaller header table says so, also that of a refusal with a text', () => {
    const connection = connect()
    connection.receive(frame(FrameType.SETTINGS, 0, 0, Buffer.from('000100000000', 'hex')))
    wire.written.length = 0
    const request = { ':method': 'GET', ':scheme': 'http', ':path': '/', ':authority': 'a' }
    connection.receive(Buffer.concat([headersFrame(1, request), headersFrame(3, request)]))
    const blocks = wire.frames().filter(([type]) => type === FrameType.HEADERS)
    // RFC 7541 §4.2, §6.3: a dynamic table size update to 0.
    expect(blocks.map(([, , id, block]) => [id, block[0] === 0x20])).toEqual([
      [1, true],
      [3, false],
    ])
  })

  it('a frame that breaks its content-length is answered by one reset, however it is cut', () => {
    const connection = connect()
    connection.receive(headersFrame(1, { ...grpcRequest(PATH), 'content-length': '2' }))
    wire.written.length = 0
    const data = frame(FrameType.DATA, 0, 1, Buffer.alloc(20))
    for (let at = 0; at < data.length; at++) connection.receive(data.subarray(at, at + 1))
    expect(wire.frames().filter(([type]) => type === FrameType.RST_STREAM).length).toBe(1)
  })

  it('resets behind an end are free for gateways', () => {
    const connection = connect({ burst: 100, rate: 0, freeResets: true })
    const bytes = Buffer.concat([exchange(1), resetFrame(1, 2)])
    const data = headersFrame(1, grpcRequest(PATH)).length
    const window = frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.from([0x10, 0, 0, 0]))
    connection.receive(window)
    for (let i = 0; i < 5000; i++) {
      const id = 2 * i + 1
      bytes.writeUInt32BE(id, 5)
      bytes.writeUInt32BE(id, data + 5)
      bytes.writeUInt32BE(id, bytes.length - 8)
      connection.receive(bytes)
      wire.written.length = 0
      service.opened.length = 0
    }
    expect(failures).toEqual([])
    expect(wire.ended).toBe(false)
    expect(wire.writes).toBe(5000)
  })

  it('resets before the answer are held against strangers only', () => {
    const flood = (limits: FloodLimits): boolean => {
      wire = new MemoryWire()
      const connection = connect(limits)
      for (let i = 0; i < 5000 && !wire.ended; i++) {
        const id = 2 * i + 1
        connection.receive(Buffer.concat([headersFrame(id, grpcRequest(PATH)), resetFrame(id, 8)]))
      }
      return wire.ended
    }
    expect(flood(TRUSTED)).toBe(false)
    expect(flood(UNTRUSTED)).toBe(true)
    const [type, , , payload] = wire.frames().at(-1)!
    expect([type, payload.readUInt32BE(4)]).toEqual([FrameType.GOAWAY, 11])
  })

  it('a slow socket makes streams wait, in turn, and control frames without end are too much', () => {
    const talker = new RecordingService(PATH, {
      open: ({ stream }) => stream.send(Buffer.alloc(400_000)),
    })
    service = talker
    const connection = connect()
    const wide = Buffer.from([0x10, 0, 0, 0])
    connection.receive(frame(FrameType.WINDOW_UPDATE, 0, 0, wide))
    connection.receive(frame(FrameType.SETTINGS, 0, 0, Buffer.from('000410000000', 'hex')))
    wire.written.length = 0
    wire.room = 100_000
    connection.receive(Buffer.concat([1, 3, 5].map(id => headersFrame(id, grpcRequest(PATH)))))
    const bytesOf = (id: number): number =>
      wire.frames().reduce((sum, [type, , stream, { length }]) => sum + (type === 0 && stream === id ? length : 0), 0)
    expect(bytesOf(1)).toBeGreaterThan(200_000)
    expect(bytesOf(3) + bytesOf(5)).toBeLessThan(400_000)
    while (wire.pendingBytes > 0) {
      wire.pendingBytes = 0
      wire.room = 100_000
      connection.writable()
    }
    expect([bytesOf(1), bytesOf(3), bytesOf(5)]).toEqual([400_000, 400_000, 400_000])
    const ids = wire.frames().flatMap(([type, , id]) => (type === FrameType.DATA ? [id] : []))
    // 3 and 5 take turns: neither is served whole before the other begins.
    expect(ids.indexOf(5)).toBeLessThan(ids.lastIndexOf(3))
    wire.room = 0
    const ping = frame(FrameType.PING, 0, 0, Buffer.alloc(8))
    for (let i = 0; i < 200_000 && !wire.ended; i++) connection.receive(ping)
    expect(failures).toEqual(['the peer does not read'])
  })

  it('streams that were reset while they waited leave nothing behind', async () => {
    const talker = new RecordingService(PATH, {
      open: ({ stream }) => stream.send(Buffer.alloc(100_000)),
    })
    service = talker
    const connection = connect()
    const before = bytesInUse()
    for (let i = 0; i < 5000; i++) {
      const id = 2 * i + 1
      connection.receive(Buffer.concat([headersFrame(id, grpcRequest(PATH)), resetFrame(id, 8)]))
      wire.written.length = 0
      service.opened.length = 0
    }
    expect(connection.streamCount).toBe(0)
    expect(failures).toEqual([])
    // 5,000 × 100 KB waited.
    expect(await bytesKeptSince(before, 25_000_000)).toBeLessThan(25_000_000)
  })
})
