/**
 * Header blocks that were decoded lately, with what they said. A client like Envoy sends the same bytes for every stream of a
 * connection, so comparing them is nearly all there is to do.
 */
import type { StreamHeaders } from '../../transport.ts'
import { RememberedBytes } from './remembered-bytes.ts'

/** More kinds of requests on one connection are not expected to alternate. */
const BLOCKS = 4

export interface RecentBlock {
  readonly bytes: RememberedBytes
  /** The dynamic table's version before and after it. */
  version: number
  headers: StreamHeaders
  timeout: string | undefined
}

export class RecentBlocks {
  private readonly blocks: RecentBlock[] = []
  /** Counts what was remembered. */
  private count = 0

  /** What the same bytes meant before, if the dynamic table has not changed since. */
  find(block: Uint8Array, start: number, end: number, version: number): RecentBlock | undefined {
    for (let at = 0; at < this.blocks.length; at++) {
      const recent = this.blocks[at]!
      if (recent.version === version && recent.bytes.equal(block, start, end)) return recent
    }
    return undefined
  }

  /** Keeps a block that was decoded at `version` and left it so, instead of the oldest. */
  remember(
    block: Uint8Array,
    start: number,
    end: number,
    version: number,
    headers: StreamHeaders,
    timeout: string | undefined,
  ): void {
    const at = this.count++ % BLOCKS
    const recent = (this.blocks[at] ??= { bytes: new RememberedBytes(), version, headers, timeout })
    recent.bytes.remember(block, start, end)
    recent.version = version
    recent.headers = headers
    recent.timeout = timeout
  }
}
