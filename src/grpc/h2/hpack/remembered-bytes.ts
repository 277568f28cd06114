/** Bytes that came lately, to be compared with those that come now. */

/** Longer ones are not remembered: Envoy's header blocks have 46, and there are several memories a connection. */
const MAX_BYTES = 256

export class RememberedBytes {
  private readonly bytes = new Uint8Array(MAX_BYTES)
  private length = -1

  equal(block: Uint8Array, start: number, end: number): boolean {
    const { bytes, length } = this
    if (length !== end - start) return false
    // What differs in blocks of one length is nearer to their end.
    for (let at = length - 1; at >= 0; at--) if (bytes[at] !== block[start + at]) return false
    return true
  }

  /** Copies `block[start, end)`, or remembers nothing when that is too long. */
  remember(block: Uint8Array, start: number, end: number): void {
    const length = end - start
    this.length = length <= MAX_BYTES ? length : -1
    const { bytes } = this
    for (let at = 0; at < this.length; at++) bytes[at] = block[start + at]!
  }
}
