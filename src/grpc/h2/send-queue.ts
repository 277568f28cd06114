/** Bytes of one stream that wait to be sent, by reference and in order. */
export class SendQueue {
  bytes = 0
  #pieces: Uint8Array[] = []
  /** Index of the first piece that is not done with, and how much of it is. */
  #first = 0
  #offset = 0

  add(piece: Uint8Array): void {
    this.#pieces.push(piece)
    this.bytes += piece.length
  }

  /** Hands the next `count` (≤ `bytes`) bytes to `to`, in pieces. */
  take(count: number, to: { payload(bytes: Uint8Array): void }): void {
    this.bytes -= count
    let left = count
    while (left > 0) {
      const piece = this.#pieces[this.#first]!
      const size = piece.length - this.#offset
      if (left < size) {
        to.payload(piece.subarray(this.#offset, this.#offset + left))
        this.#offset += left
        return
      }
      to.payload(this.#offset === 0 ? piece : piece.subarray(this.#offset))
      left -= size
      this.#offset = 0
      this.#first++
    }
    if (this.bytes === 0) this.clear()
  }

  /** Copies what lies in `lent`, which will be written to again. */
  own(lent: ArrayBufferLike): void {
    for (let i = this.#first; i < this.#pieces.length; i++) {
      const piece = this.#pieces[i]!
      if (piece.buffer === lent) this.#pieces[i] = Uint8Array.prototype.slice.call(piece)
    }
  }

  /** Forgets the bytes behind the first `kept`. */
  truncate(kept: number): void {
    while (this.bytes > kept) {
      const last = this.#pieces.pop()!
      const size = this.#pieces.length === this.#first ? last.length - this.#offset : last.length
      this.bytes -= size
      if (this.bytes < kept) {
        const rest = last.length - (this.bytes + size - kept)
        this.#pieces.push(last.subarray(0, rest))
        this.bytes = kept
      }
    }
  }

  clear(): void {
    this.bytes = 0
    this.#first = 0
    this.#offset = 0
    this.#pieces.length = 0
  }
}
