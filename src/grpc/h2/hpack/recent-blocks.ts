/**
 * Header blocks that were decoded lately, with what they said. A client like Envoy sends the same bytes for every stream of a
 * connection, so comparing them is nearly all there is to do.
 */
import type { StreamHeaders } from '../../transport.ts'

/** More kinds of requests on one connection are not expected to alternate. */
const BLOCKS = 4
/** Envoy's have 46 bytes. */
const MAX_BLOCK_BYTES = 256

export class RecentBlocks {
  private readonly bytes: Uint8Array[] = []
  private readonly headers: StreamHeaders[] = []
  /** The dynamic table's version at which all of them were decoded; they changed nothing in it. */
  private version = -1
  /** Which one is replaced next. */
  private oldest = 0

  /** What the same bytes meant before, if the dynamic table has not changed since. */
  find(block: Uint8Array, start: number, end: number, version: number): StreamHeaders | undefined {
    if (version !== this.version) return undefined
    for (let at = 0; at < this.bytes.length; at++) {
      if (equal(this.bytes[at]!, block, start, end)) return this.headers[at]
    }
    return undefined
  }

  /** Keeps a block that was decoded at `version` and left it so. */
  remember(block: Uint8Array, start: number, end: number, version: number, headers: StreamHeaders): void {
    if (end - start > MAX_BLOCK_BYTES) return
    if (version !== this.version) {
      this.version = version
      this.oldest = 0
      this.bytes.length = 0
      this.headers.length = 0
    }
    // Not `slice`, which for a Buffer is a view.
    this.bytes[this.oldest] = new Uint8Array(block.subarray(start, end))
    this.headers[this.oldest] = headers
    this.oldest = (this.oldest + 1) % BLOCKS
  }
}

function equal(known: Uint8Array, block: Uint8Array, start: number, end: number): boolean {
  const { length } = known
  if (length !== end - start) return false
  // Blocks of one length differ in their last fields rather than in the first ones.
  for (let at = length - 1; at >= 0; at--) if (known[at] !== block[start + at]) return false
  return true
}
