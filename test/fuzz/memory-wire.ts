import type { H2Connection } from '../../src/grpc/h2/h2-connection.ts'
import type { Wire } from '../../src/grpc/h2/wire.ts'
import { Finding } from './target.ts'

/** A connection's wire without a socket. While it is congested it only keeps what it is given, as a socket does. */
export class MemoryWire implements Wire {
  pendingBytes = 0
  congested = false
  ended = false
  destroyed = false
  /** Writes that came after the end. */
  lateWrites = 0
  #written: Buffer[] = []
  /** What the socket has not taken, and what it was when it came. */
  #kept: { readonly piece: Uint8Array; readonly copy: Buffer }[] = []

  write(pieces: readonly Uint8Array[]): boolean {
    if (this.ended || this.destroyed) {
      this.lateWrites++
      return false
    }
    const keeps = this.congested || this.pendingBytes > 0
    for (const piece of pieces) {
      const copy = Buffer.from(piece)
      this.#written.push(copy)
      if (!keeps) continue
      this.#kept.push({ piece, copy })
      this.pendingBytes += piece.length
    }
    return !keeps
  }

  end(): void {
    this.ended = true
    this.#relieve()
  }

  destroy(): void {
    this.destroyed = true
    this.#relieve()
  }

  /** The peer reads on. */
  drain(connection: H2Connection): void {
    this.congested = false
    if (this.pendingBytes === 0) return
    this.#relieve()
    if (!this.ended && !this.destroyed) connection.writable()
  }

  /** What was written since the last call, taken by the socket or not. */
  take(): Buffer {
    const written = Buffer.concat(this.#written)
    this.#written = []
    return written
  }

  #relieve(): void {
    for (const { piece, copy } of this.#kept.splice(0)) {
      if (!copy.equals(piece)) throw new Finding('bytes were reused while the socket had them')
    }
    this.pendingBytes = 0
  }
}
