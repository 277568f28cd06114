/** A client that writes HTTP/2 frames by hand, for tests of what no well-behaved client sends. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'

export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const

export const PREFACE: Uint8Array = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export const END_STREAM = 1
export const END_HEADERS = 4

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Every field as a literal without indexing (RFC 7541 §6.2.2). */
export function headerBlock(fields: Iterable<readonly [name: string, value: string]>): Buffer {
  const literals = Array.from(fields, ([name, value]) =>
    Buffer.concat([Buffer.from([0]), hpackString(name), hpackString(value)]),
  )
  return Buffer.concat(literals)
}

/** HEADERS with the whole of `headerBlock`. */
export function headersFrame(stream: number, fields: Readonly<Record<string, string>>, flags = 0): Buffer {
  return frame(FrameType.HEADERS, flags | END_HEADERS, stream, headerBlock(Object.entries(fields)))
}

export function hpackString(text: string): Buffer {
  if (text.length < 127) return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])
  const head = [127]
  let rest = text.length - 127
  for (; rest >= 128; rest >>>= 7) head.push((rest & 127) | 128)
  return Buffer.concat([Buffer.from([...head, rest]), Buffer.from(text)])
}

export function grpcRequest(path: string): Record<string, string> {
  return {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    ':authority': 'test',
    te: 'trailers',
    'content-type': 'application/grpc',
  }
}

export function resetFrame(stream: number, code: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(code)
  return frame(FrameType.RST_STREAM, 0, stream, payload)
}

/** Answers SETTINGS and PING by itself, unless told not to, and collects the rest. */
export class RawHttp2Client {
  readonly socket: Socket
  readonly frames: Frame[] = []
  closed = false
  answersPings = true
  private buffered: Buffer = Buffer.alloc(0)
  private readonly waiting = new Set<() => void>()

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', bytes => this.read(bytes))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
      this.wake()
    })
  }

  /** `settings`: payload of our SETTINGS frame. */
  static async connect(port: number, settings: Uint8Array = Buffer.alloc(0)): Promise<RawHttp2Client> {
    const client = await RawHttp2Client.open(port)
    client.write(PREFACE, frame(FrameType.SETTINGS, 0, 0, settings))
    return client
  }

  /** A connection on which nothing was sent. */
  static async open(port: number): Promise<RawHttp2Client> {
    const socket = connect(port, '127.0.0.1')
    const client = new RawHttp2Client(socket)
    await new Promise((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    socket.setNoDelay(true)
    return client
  }

  write(...frames: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  /** Resolves when `condition` holds; it is looked at after every frame and at the end of the connection. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.closed) throw new Error('the connection is closed')
      await new Promise<void>(resolve => this.waiting.add(resolve))
    }
  }

  of(type: number, stream?: number): Frame[] {
    return this.frames.filter(frame => frame.type === type && (stream === undefined || frame.stream === stream))
  }

  destroy(): void {
    this.socket.destroy()
  }

  private read(bytes: Buffer): void {
    this.buffered = this.buffered.length === 0 ? bytes : Buffer.concat([this.buffered, bytes])
    while (this.buffered.length >= 9) {
      const end = 9 + this.buffered.readUIntBE(0, 3)
      if (this.buffered.length < end) break
      const type = this.buffered[3]!
      const flags = this.buffered[4]!
      const payload = this.buffered.subarray(9, end)
      if (type === FrameType.SETTINGS && flags === 0) this.socket.write(frame(FrameType.SETTINGS, 1, 0))
      if (type === FrameType.PING && flags === 0 && this.answersPings)
        this.socket.write(frame(FrameType.PING, 1, 0, payload))
      this.frames.push({ type, flags, stream: this.buffered.readUInt32BE(5) & 0x7fffffff, payload })
      this.buffered = this.buffered.subarray(end)
    }
    this.wake()
  }

  private wake(): void {
    for (const resolve of this.waiting) resolve()
    this.waiting.clear()
  }
}
