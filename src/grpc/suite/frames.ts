/** Frames by name, for tests that write HTTP/2 by hand. Nothing is checked: wrong frames are what they are for. */
import { END_HEADERS, FrameType, frame } from './raw-http2-client.ts'

export const PADDED = 8
const PRIORITY_FLAG = 0x20

/** RFC 9113 §7. */
export const ErrorCode = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const

export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode]

/** RFC 9113 §6.5.2. */
export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const

export function data(stream: number, payload: Uint8Array, flags = 0): Buffer {
  return frame(FrameType.DATA, flags, stream, payload)
}

/** HEADERS with a whole block: END_HEADERS is set. */
export function headers(stream: number, block: Uint8Array, flags = 0): Buffer {
  return frame(FrameType.HEADERS, flags | END_HEADERS, stream, block)
}

/** HEADERS whose block goes on in CONTINUATION frames. */
export function openHeaders(stream: number, block: Uint8Array, flags = 0): Buffer {
  return frame(FrameType.HEADERS, flags, stream, block)
}

/** HEADERS with the priority fields of RFC 7540. */
export function prioritizedHeaders(stream: number, block: Uint8Array, dependsOn: number, flags = 0): Buffer {
  const payload = Buffer.concat([priorityFields(dependsOn, 255, false), block])
  return frame(FrameType.HEADERS, flags | END_HEADERS | PRIORITY_FLAG, stream, payload)
}

export function paddedHeaders(stream: number, block: Uint8Array, padding: number, flags = 0): Buffer {
  return frame(FrameType.HEADERS, flags | END_HEADERS | PADDED, stream, padded(block, padding))
}

export function paddedData(stream: number, payload: Uint8Array, padding: number, flags = 0): Buffer {
  return frame(FrameType.DATA, flags | PADDED, stream, padded(payload, padding))
}

export function continuation(stream: number, block: Uint8Array, flags = 0): Buffer {
  return frame(FrameType.CONTINUATION, flags, stream, block)
}

export function priority(stream: number, dependsOn: number, weight = 255, exclusive = false): Buffer {
  return frame(FrameType.PRIORITY, 0, stream, priorityFields(dependsOn, weight, exclusive))
}

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length)
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, 6 * index)
    payload.writeUInt32BE(value, 6 * index + 2)
  }
  return frame(FrameType.SETTINGS, 0, 0, payload)
}

/** `opaque`: filled up with zeros to eight bytes. */
export function ping(opaque = '', flags = 0): Buffer {
  return frame(FrameType.PING, flags, 0, pingPayload(opaque))
}

export function pingPayload(opaque: string): Buffer {
  const payload = Buffer.alloc(8)
  payload.write(opaque)
  return payload
}

export function goaway(lastStream: number, code: number, debug = '', stream = 0): Buffer {
  return frame(FrameType.GOAWAY, 0, stream, Buffer.concat([uint32(lastStream), uint32(code), Buffer.from(debug)]))
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(FrameType.WINDOW_UPDATE, 0, stream, uint32(increment))
}

export function pushPromise(stream: number, promised: number, block: Uint8Array): Buffer {
  return frame(FrameType.PUSH_PROMISE, END_HEADERS, stream, Buffer.concat([uint32(promised), block]))
}

function padded(payload: Uint8Array, padding: number): Buffer {
  return Buffer.concat([Buffer.from([padding]), payload, Buffer.alloc(padding)])
}

function priorityFields(dependsOn: number, weight: number, exclusive: boolean): Buffer {
  return Buffer.concat([uint32(exclusive ? (dependsOn | 0x80000000) >>> 0 : dependsOn), Buffer.from([weight])])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
