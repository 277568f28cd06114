const NOTHING = new Uint8Array(0)
/** So many places of pieces that are gone, and half of all, are given up at once. */
const SHIFT_PIECES = 256

/** Takes `bytes[start, end)`. */
interface PieceSink {
  payload(bytes: Uint8Array, start: number, end: number): void
}

/** Bytes of one stream that wait to be sent, by reference and in order. Most streams never have more than one piece. */
export class SendQueue {
  bytes = 0
  /** What is left of the piece under way: `#piece[#start, #end)`. */
  #piece: Uint8Array | undefined
  #start = 0
  #end = 0
  /** Those behind it, from `#next` on. */
  #more: Uint8Array[] | undefined
  #next = 0
  /** Those of `#more` before this one lie in no lent memory: they were looked at when they came. */
  #owned = 0

  /** Appends `piece[start, end)`, which is not empty. */
  add(piece: Uint8Array, start: number, end: number): void {
    this.bytes += end - start
    if (this.#piece === undefined) {
      this.#piece = piece
      this.#start = start
      this.#end = end
      return
    }
    const whole = start === 0 && end === piece.length ? piece : piece.subarray(start, end)
    if (this.#more === undefined) this.#more = [whole]
    else this.#more.push(whole)
  }

  /** Hands the next `count` (≤ `bytes`) bytes to `to`, in pieces. */
  take(count: number, to: PieceSink): void {
    this.bytes -= count
    let left = count
    while (left > 0) {
      const start = this.#start
      const size = this.#end - start
      if (left < size) {
        this.#start += left
        return to.payload(this.#piece!, start, start + left)
      }
      to.payload(this.#piece!, start, this.#end)
      left -= size
      this.#advance()
    }
  }

  /** Copies what lies in `lent`, which will be written to again. Costs nothing for pieces that were there at an earlier call. */
  own(lent: ArrayBufferLike): void {
    if (this.#piece?.buffer === lent) {
      this.#piece = copyOf(this.#piece, this.#start, this.#end)
      this.#end -= this.#start
      this.#start = 0
    }
    const more = this.#more
    if (more === undefined) return
    for (let i = Math.max(this.#next, this.#owned); i < more.length; i++)
      if (more[i]!.buffer === lent) more[i] = copyOf(more[i]!, 0, more[i]!.length)
    this.#owned = more.length
  }

  /** Forgets the bytes behind the first `kept`. */
  truncate(kept: number): void {
    const pieces: Uint8Array[] = []
    const taken = Math.min(kept, this.bytes)
    this.take(taken, { payload: (bytes, start, end) => pieces.push(bytes.subarray(start, end)) })
    this.clear()
    for (const piece of pieces) this.add(piece, 0, piece.length)
  }

  clear(): void {
    this.bytes = 0
    this.#piece = undefined
    this.#start = 0
    this.#end = 0
    this.#forgetMore()
  }

  #advance(): void {
    const more = this.#more
    if (more === undefined) {
      this.#piece = undefined
      return
    }
    const piece = more[this.#next]!
    this.#piece = piece
    this.#start = 0
    this.#end = piece.length
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

function copyOf(piece: Uint8Array, start: number, end: number): Uint8Array {
  return Uint8Array.prototype.slice.call(piece, start, end)
}
