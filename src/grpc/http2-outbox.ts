/** What a service says during one upward call, collected to leave in one write. */
import type { ServerHttp2Stream } from 'node:http2'

/** Pieces up to this many bytes together are copied into one; beyond it they are written as a vector. */
const JOIN_LIMIT = 16 * 1024

export class Outbox {
  bytes = 0
  private first: Uint8Array | undefined
  private more: Uint8Array[] | undefined

  add(piece: Uint8Array): void {
    if (this.first === undefined) this.first = piece
    else if (this.more === undefined) this.more = [piece]
    else this.more.push(piece)
    this.bytes += piece.length
  }

  clear(): void {
    this.first = undefined
    this.more = undefined
    this.bytes = 0
  }

  /** Writes all pieces and forgets them. `onWritten` is called when the socket has the last one. */
  writeTo(http2: ServerHttp2Stream, onWritten: (() => void) | undefined): void {
    const { first, more, bytes } = this
    this.clear()
    if (more === undefined) {
      http2.write(first, onWritten)
    } else if (bytes <= JOIN_LIMIT) {
      http2.write(join(first!, more, bytes), onWritten)
    } else {
      http2.cork()
      http2.write(first)
      const last = more.length - 1
      for (let i = 0; i < last; i++) http2.write(more[i])
      http2.write(more[last], onWritten)
      http2.uncork()
    }
  }
}

function join(first: Uint8Array, more: readonly Uint8Array[], bytes: number): Buffer {
  const joined = Buffer.allocUnsafe(bytes)
  joined.set(first)
  let at = first.length
  for (const piece of more) {
    joined.set(piece, at)
    at += piece.length
  }
  return joined
}
