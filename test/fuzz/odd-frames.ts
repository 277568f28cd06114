/** Frames that a client should not send. */
import * as write from '../../src/grpc/suite/frames.ts'
import {
  END_HEADERS,
  FrameType,
  frame,
  grpcRequest,
  headerBlock,
  resetFrame,
} from '../../src/grpc/suite/raw-http2-client.ts'
import { PATHS } from './fuzz-service.ts'
import { randomBlock } from './header-blocks.ts'
import { mutate } from './random.ts'
import type { Random } from './random.ts'

const MAX_WINDOW = 2 ** 31 - 1
const FRAME_BYTES = 16_384

const echo = Object.entries(grpcRequest(PATHS.echo))
const without = (name: string): Buffer => headerBlock(echo.filter(([each]) => each !== name))
const withMore = (...more: readonly (readonly [string, string])[]): Buffer => headerBlock([...echo, ...more])

/** Requests that are refused, and that leave header tables in step. */
const REFUSED: readonly Buffer[] = [
  without(':path'),
  without(':method'),
  without('content-type'),
  without('te'),
  withMore(['connection', 'close']),
  withMore([':path', '/']),
  withMore(['Upper', 'x']),
  withMore(['x', 'y'.repeat(9000)]),
  withMore(...Array.from({ length: 300 }, (_, at) => [`x${at}`, ''] as const)),
  withMore(['content-length', '3']),
  withMore(['grpc-timeout', 'soon']),
  withMore(['grpc-encoding', 'gzip']),
  headerBlock(Object.entries(grpcRequest('/fuzz/Nobody'))),
  headerBlock([
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'x'],
  ]),
  headerBlock([
    [':method', 'CONNECT'],
    [':authority', 'x'],
  ]),
]

export function refusedRequest(random: Random): Buffer {
  return random.pick(REFUSED)
}

/**
 * What costs the client its stream, or nothing, and never its connection. `isOpen`: the client has not ended the stream. It does not
 * here either, because HEADERS behind both ends would cost the connection.
 */
export function rudeFrame(random: Random, stream: number, isOpen: boolean): Buffer {
  switch (random.below(isOpen ? 9 : 6)) {
    case 0: {
      const update = write.windowUpdate(stream, random.pick([0, 1, MAX_WINDOW]))
      // Twice: the stream must be over, or new SETTINGS could overflow its window, which costs the connection.
      return Buffer.concat([update, update])
    }
    case 1:
      return write.data(stream, random.bytes(random.length(500)), isOpen ? 0 : random.below(2))
    case 2:
      return write.priority(stream, stream)
    case 3:
      return frame(FrameType.PRIORITY, random.below(256), stream, random.bytes(random.below(9)))
    case 4:
      return write.data(stream, Buffer.alloc(0))
    case 5:
      return write.paddedData(stream, Buffer.alloc(0), random.below(256))
    case 6:
      // Not the end, or not what trailers may hold.
      return write.headers(stream, headerBlock([[random.pick(['x', ':path', 'UPPER']), '1']]))
    case 7:
      return write.data(stream, Buffer.from([random.below(3), 255, 255, 255, 255, 1]))
    default:
      return write.headers(stream, Buffer.alloc(0))
  }
}

/** Most of these end the connection. */
export function brokenFrame(random: Random, stream: number, common: Buffer): Buffer {
  switch (random.below(8)) {
    case 0: {
      // As DATA it would be part of a fair call.
      const mine = Buffer.from(common)
      if (mine.readUInt32BE(5) !== 0) mine.writeUInt32BE(stream, 5)
      return changed(random, mine, stream)
    }
    case 1:
      return resetFrame(stream, random.below(20))
    case 2:
      return write.windowUpdate(random.oneIn(3) ? 0 : stream, random.pick([0, 1, MAX_WINDOW]))
    case 3:
      return write.data(stream, random.bytes(random.length(500)), random.below(2))
    case 4:
      return write.headers(stream, randomBlock(random, 5000, random.oneIn(2)), random.below(2))
    case 5:
      return write.goaway(random.below(10), random.below(14), 'bye')
    case 6:
      return write.continuation(stream, random.bytes(10), END_HEADERS)
    default:
      return write.pushPromise(stream, 2, random.bytes(10))
  }
}

/** A frame with one thing changed: its flags, type, payload or stream. */
export function changed(random: Random, bytes: Buffer, stream?: number): Buffer {
  const odd = Buffer.from(bytes)
  switch (random.below(4)) {
    case 0:
      odd[4] = random.below(256)
      return odd
    case 1:
      odd[3] = random.below(11)
      return odd
    case 2: {
      const payload = mutate(odd.subarray(9), random).subarray(0, FRAME_BYTES)
      return frame(odd[3]!, odd[4]!, odd.readUInt32BE(5), payload)
    }
    default:
      if (stream !== undefined) odd.writeUInt32BE(stream, 5)
      return odd
  }
}

/** A length that is not that of its payload: what follows is read as something else. */
export function misleading(random: Random, bytes: Buffer): Buffer {
  const odd = Buffer.from(bytes)
  odd.writeUIntBE(random.pick([0, 1, 4, 5, 8, 9, 100, FRAME_BYTES, FRAME_BYTES + 1, 2 ** 24 - 1]), 0, 3)
  return odd
}
