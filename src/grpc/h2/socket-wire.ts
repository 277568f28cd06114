import { Socket } from 'node:net'
import type { TcpNetConnectOpts } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { H2Connection } from './h2-connection.ts'
import type { Wire } from './wire.ts'

/** How long a peer may leave its side open after we have closed ours. */
const CUT_OFF_MS = 500
/** What one read takes at first and at most: a socket that fills its buffer gets one four times as large. */
const FIRST_READ_BYTES = 4 * 1024
const MAX_READ_BYTES = 64 * 1024
const NOTHING = new Uint8Array(0)

/** System calls of a server's sockets, for its benchmarks. */
export interface WireCounts {
  reads: number
  writes: number
}

/** A connection's socket, plain or TLS. */
export class SocketWire implements Wire {
  readonly #socket: Socket
  readonly #counts: WireCounts
  #connection: H2Connection | undefined
  /** Bytes of the last read. */
  #read = 0
  /** What was written since then is not all with the kernel. */
  #lends = false
  readonly #drained = (): void => this.#connection?.writable()

  constructor(socket: Socket | TLSSocket, counts: WireCounts) {
    this.#socket = socket
    this.#counts = counts
  }

  /**
   * Takes over a socket that was accepted and not read from, and reads into a buffer of ours again and again, which can only be had at a socket's
   * birth: node's own way makes a new buffer of 64 KiB for every read.
   */
  static adopt(accepted: Socket, counts: WireCounts): SocketWire {
    let wire: SocketWire | undefined
    let buffer = Buffer.allocUnsafeSlow(FIRST_READ_BYTES)
    const withHandle = accepted as Socket & { _handle: object | null }
    const options: SocketOptions = {
      handle: withHandle._handle,
      allowHalfOpen: false,
      onread: {
        // Asked before the first read and after each one.
        buffer: () => {
          if (wire === undefined) return buffer
          const filled = wire.#read === buffer.length && buffer.length < MAX_READ_BYTES
          // The kernel has not taken all that was said, and some of it may lie in the buffer.
          if (filled || wire.#lends) buffer = Buffer.allocUnsafeSlow(filled ? buffer.length * 4 : buffer.length)
          wire.#lends = false
          return buffer
        },
        callback(bytes) {
          wire!.#receive(bytes === buffer.length ? buffer : buffer.subarray(0, bytes))
          return true
        },
      },
    }
    withHandle._handle = null
    accepted.destroy()
    wire = new SocketWire(new Socket(options as object), counts)
    return wire
  }

  /** Begins to read. */
  serve(connection: H2Connection, onError: (error: unknown) => void): void {
    const socket = this.#socket
    this.#connection = connection
    socket.on('error', onError)
    socket.on('close', () => connection.lost())
    socket.on('drain', this.#drained)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.resume()
  }

  get pendingBytes(): number {
    return this.#socket.writableLength
  }

  write(pieces: readonly Uint8Array[]): boolean {
    const socket = this.#socket
    if (socket.destroyed || socket.writableEnded) return false
    this.#counts.writes++
    if (pieces.length === 1) {
      socket.write(pieces[0]!)
    } else {
      socket.cork()
      for (const piece of pieces) socket.write(piece)
      socket.uncork()
    }
    if (socket.writableLength === 0) return true
    this.#lends = true
    // Below its own mark node says nothing when the rest has gone.
    if (!socket.writableNeedDrain) socket.write(NOTHING, this.#drained)
    return false
  }

  end(): void {
    this.#socket.end()
    setTimeout(() => this.#socket.destroy(), CUT_OFF_MS).unref()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    this.#counts.reads++
    this.#read = chunk.length
    this.#connection!.receive(chunk)
  }
}

/** `handle` is what node's own server passes; its types leave it out. */
type SocketOptions = Pick<TcpNetConnectOpts, 'onread'> & {
  readonly handle: object | null
  readonly allowHalfOpen: boolean
}
