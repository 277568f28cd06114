const NOTHING = new Uint8Array(0)
/** So many places of pieces that are gone, and half of all, are given up at once. */
const SHIFT_PIECES = 256

/** Bytes of one stream that wait to be sent, by reference and in order. Most streams never have more than one piece. */
export class SendQueue {
  bytes = 0
  /** The piece under way, and how much of it is done with. */
  #piece: Uint8Array | undefined
  #offset = 0
  /** Those behind it, from `#next` on. */
  #more: Uint8Array[] | undefined
  #next = 0
  /** Those of `#more` before this one lie in no lent memory: they were looked at when they came. */
  #owned = 0

  add(piece: Uint8Array): void {
    this.bytes += piece.length
    if (this.#piece === undefined) this.#piece = piece
    else if (this.#more === undefined) this.#more = [piece]
    else this.#more.push(piece)
  }

  /** Hands the next `count` (≤ `bytes`) bytes to `to`, in pieces. */
  take(count: number, to: { payload(bytes: Uint8Array): void }): void {
    this.bytes -= count
    let left = count
    while (left > 0) {
      const piece = this.#piece!
      const size = piece.length - this.#offset
      if (left < size) {
        to.payload(piece.subarray(this.#offset, this.#offset + left))
        this.#offset += left
        return
      }
      to.payload(this.#offset === 0 ? piece : piece.subarray(this.#offset))
      left -= size
      this.#advance()
    }
  }

  /** Copies what lies in `lent`, which will be written to again. Costs nothing for pieces that were there at an earlier call. */
  own(lent: ArrayBufferLike): void {
    if (this.#piece?.buffer === lent) this.#piece = copyOf(this.#piece)
    const more = this.#more
    if (more === undefined) return
    for (let i = Math.max(this.#next, this.#owned); i < more.length; i++)
      if (more[i]!.buffer === lent) more[i] = copyOf(more[i]!)
    this.#owned = more.length
  }

  /** Forgets the bytes behind the first `kept`. */
  truncate(kept: number): void {
    const pieces: Uint8Array[] = []
    const taken = Math.min(kept, this.bytes)
    this.take(taken, { payload: bytes => pieces.push(bytes) })
    this.clear()
    for (const piece of pieces) this.add(piece)
  }

  clear(): void {
    this.bytes = 0
    this.#piece = undefined
    this.#offset = 0
    this.#forgetMore()
  }

  #advance(): void {
    this.#offset = 0
    const more = this.#more
    if (more === undefined) {
      this.#piece = undefined
      return
    }
    this.#piece = more[this.#next]
    // A queue that is never quite empty must not keep all that ever went through it.
    more[this.#next] = NOTHING
    this.#next++
    if (this.#next === more.length) this.#forgetMore()
    else if (this.#next >= SHIFT_PIECES && this.#next * 2 >= more.length) {
      more.splice(0, this.#next)
      this.#owned = Math.max(0, this.#owned - this.#next)
      this.#next = 0
    }
  }

  #forgetMore(): void {
    this.#more = undefined
    this.#next = 0
    this.#owned = 0
  }
}

function copyOf(piece: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(piece)
}
