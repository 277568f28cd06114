/**
 * The listening side of ZMTP 3.1 (RFC 37) without security, as much as an engine's event sockets need: PUB, which sends to whoever has
 * subscribed, and ROUTER, which answers who asked.
 */
import { Buffer } from 'node:buffer'
import { createServer, type Server, type Socket } from 'node:net'

/** A peer that does not read gets nothing more until it has. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024
const MAX_FRAME_BYTES = 1024 * 1024

export interface ZmtpServerOptions {
  readonly type: 'PUB' | 'ROUTER'
  /** For ROUTER. */
  readonly onRequest?: (frames: readonly Buffer[], answer: (frames: readonly Uint8Array[]) => void) => void
}

export class ZmtpServer {
  readonly #options: ZmtpServerOptions
  readonly #server: Server
  readonly #peers = new Set<Peer>()

  constructor(options: ZmtpServerOptions) {
    this.#options = options
    this.#server = createServer(socket => {
      const peer = new Peer(socket, options)
      this.#peers.add(peer)
      socket.on('close', () => this.#peers.delete(peer))
    })
  }

  /** Resolves with the port. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        const address = this.#server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : 0)
      })
    })
  }

  /** Peers that are subscribed to something. */
  get subscribers(): number {
    return [...this.#peers].filter(peer => peer.topics.length > 0).length
  }

  publish(frames: readonly Uint8Array[]): void {
    if (this.#options.type !== 'PUB') throw new Error('only a PUB socket publishes')
    const topic = Buffer.from(frames[0]!).toString('latin1')
    const bytes = message(frames)
    for (const peer of this.#peers) if (peer.topics.some(prefix => topic.startsWith(prefix))) peer.write(bytes)
  }

  close(): Promise<void> {
    for (const peer of this.#peers) peer.close()
    return new Promise(resolve => {
      this.#server.close(() => resolve())
    })
  }
}

class Peer {
  readonly topics: string[] = []
  readonly #socket: Socket
  readonly #options: ZmtpServerOptions
  #bytes = Buffer.alloc(0)
  #greeted = false
  #frames: Buffer[] = []

  constructor(socket: Socket, options: ZmtpServerOptions) {
    this.#socket = socket
    this.#options = options
    socket.setNoDelay(true)
    socket.on('error', () => socket.destroy())
    socket.on('data', (bytes: Buffer) => this.#data(bytes))
    const greeting = Buffer.alloc(64)
    greeting.set([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1])
    greeting.write('NULL', 12)
    socket.write(greeting)
  }

  write(bytes: Buffer): void {
    if (this.#socket.writableLength < MAX_BUFFERED_BYTES) this.#socket.write(bytes)
  }

  close(): void {
    this.#socket.destroy()
  }

  #data(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    if (!this.#greeted) {
      if (this.#bytes[0] !== 0xff) return this.close()
      if (this.#bytes.length < 64) return
      this.#bytes = this.#bytes.subarray(64)
      this.#greeted = true
      const type = Buffer.from(this.#options.type)
      const property = Buffer.concat([Buffer.from('\x0bSocket-Type'), Buffer.from([0, 0, 0, type.length]), type])
      this.write(frame(4, Buffer.concat([Buffer.from('\x05READY'), property])))
    }
    while (this.#takeFrame());
  }

  #takeFrame(): boolean {
    const bytes = this.#bytes
    if (bytes.length < 2) return false
    const flags = bytes[0]!
    const head = (flags & 2) === 0 ? 2 : 9
    if (bytes.length < head) return false
    const size = head === 2 ? bytes[1]! : Number(bytes.readBigUInt64BE(1))
    if (size > MAX_FRAME_BYTES) {
      this.close()
      return false
    }
    if (bytes.length < head + size) return false
    const body = bytes.subarray(head, head + size)
    this.#bytes = bytes.subarray(head + size)
    if ((flags & 4) !== 0) this.#command(body)
    else {
      this.#frames.push(body)
      if ((flags & 1) === 0) {
        this.#message(this.#frames)
        this.#frames = []
      }
    }
    return true
  }

  #command(body: Buffer): void {
    const name = body.toString('latin1', 1, 1 + body[0]!)
    const data = body.subarray(1 + name.length)
    if (name === 'PING') this.write(frame(4, Buffer.concat([Buffer.from('\x04PONG'), data.subarray(2)])))
    else if (name === 'SUBSCRIBE') this.topics.push(data.toString('latin1'))
    else if (name === 'CANCEL') this.#cancel(data.toString('latin1'))
  }

  #message(frames: readonly Buffer[]): void {
    if (this.#options.type === 'ROUTER') {
      this.#options.onRequest?.(frames, answer => this.write(message(answer)))
      return
    }
    // Subscriptions of ZMTP 3.0.
    const [first] = frames
    const topic = first?.toString('latin1', 1) ?? ''
    if (first?.[0] === 1) this.topics.push(topic)
    else if (first?.[0] === 0) this.#cancel(topic)
  }

  #cancel(topic: string): void {
    const at = this.topics.indexOf(topic)
    if (at >= 0) this.topics.splice(at, 1)
  }
}

function message(frames: readonly Uint8Array[]): Buffer {
  return Buffer.concat(frames.map((body, i) => frame(i < frames.length - 1 ? 1 : 0, body)))
}

function frame(flags: number, body: Uint8Array): Buffer {
  if (body.length < 256) return Buffer.concat([Buffer.from([flags, body.length]), body])
  const head = Buffer.alloc(9)
  head[0] = flags | 2
  head.writeBigUInt64BE(BigInt(body.length), 1)
  return Buffer.concat([head, body])
}
