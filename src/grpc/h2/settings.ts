import { ErrorCode, FrameType, MAX_FRAME_BYTES, MAX_WINDOW, readUint32, writeFrameHead, writeUint32 } from './frame.ts'

/** SETTINGS (RFC 9113 §6.5). Of a client's settings only those that bind us are kept. */

const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
  /** RFC 8441. Ours is never sent, so that nobody tries. */
  ENABLE_CONNECT_PROTOCOL: 8,
} as const

const ENTRY_BYTES = 6
const MAX_ENTRIES = 64

/** HTTP/2's own size of header tables. */
const HEADER_TABLE_BYTES = 4096

/** What a client allows us. */
export class PeerSettings {
  /** The peer's header table became smaller: our blocks never use it, but the next one has to say so (RFC 7541 §4.2). */
  shrankTable = false
  initialWindow = 65_535
  maxFrameBytes = MAX_FRAME_BYTES

  /** Takes over a payload whose length is a multiple of six. Returns an error, or undefined when all is well. */
  update(bytes: Uint8Array, start: number, end: number): ErrorCode | undefined {
    if (end - start > MAX_ENTRIES * ENTRY_BYTES) return ErrorCode.ENHANCE_YOUR_CALM
    for (let at = start; at < end; at += ENTRY_BYTES) {
      const id = (bytes[at]! << 8) | bytes[at + 1]!
      const value = readUint32(bytes, at + 2)
      if (id === Setting.INITIAL_WINDOW_SIZE) {
        if (value > MAX_WINDOW) return ErrorCode.FLOW_CONTROL_ERROR
        this.initialWindow = value
      } else if (id === Setting.MAX_FRAME_SIZE) {
        if (value < MAX_FRAME_BYTES || value > 0xffffff) return ErrorCode.PROTOCOL_ERROR
        this.maxFrameBytes = value
      } else if (id === Setting.HEADER_TABLE_SIZE) {
        this.shrankTable ||= value < HEADER_TABLE_BYTES
      } else if ((id === Setting.ENABLE_PUSH || id === Setting.ENABLE_CONNECT_PROTOCOL) && value > 1) {
        return ErrorCode.PROTOCOL_ERROR
      }
    }
    return undefined
  }
}

export interface OwnSettings {
  readonly initialWindow: number
  readonly maxConcurrentStreams: number
  readonly maxHeaderListBytes: number
}

/** The server's preface: our SETTINGS frame. The header table keeps its 4,096 bytes. */
export function settingsFrame(own: OwnSettings): Uint8Array {
  const entries: readonly (readonly [number, number])[] = [
    [Setting.MAX_CONCURRENT_STREAMS, own.maxConcurrentStreams],
    [Setting.INITIAL_WINDOW_SIZE, own.initialWindow],
    [Setting.MAX_HEADER_LIST_SIZE, own.maxHeaderListBytes],
  ]
  const length = entries.length * ENTRY_BYTES
  const frame = new Uint8Array(9 + length)
  let at = writeFrameHead(frame, 0, length, FrameType.SETTINGS, 0, 0)
  for (const [id, value] of entries) {
    frame[at] = 0
    frame[at + 1] = id
    at = writeUint32(frame, at + 2, value)
  }
  return frame
}
