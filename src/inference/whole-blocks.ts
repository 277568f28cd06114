import type { EndpointTable } from './endpoint-table.ts'
import { BYTES_PER_TOKEN } from './scheduling/candidates.ts'

/**
 * Engines cache whole blocks only: where an endpoint's are larger than the index's, of `blockBytes`, matches are rounded down to what whole
 * ones of its hold. Those of endpoints that do not tell the size of their blocks stay as they are.
 */
export function toWholeBlocks(matched: Int32Array, blockBytes: number, table: EndpointTable): void {
  const { live, liveCount, blockSize } = table
  for (let i = 0; i < liveCount; i++) {
    const slot = live[i]!
    const engineBytes = blockSize[slot]! * BYTES_PER_TOKEN
    if (engineBytes <= blockBytes || matched[slot] === 0) continue
    const whole = Math.floor((matched[slot]! * blockBytes) / engineBytes)
    matched[slot] = Math.floor((whole * engineBytes) / blockBytes)
  }
}

/** Blocks of `blockBytes` that the endpoint can hold; 0: it does not tell. */
export function capacityOf(slot: number, blockBytes: number, { blockSize, blockCount }: EndpointTable): number {
  return (blockSize[slot]! * blockCount[slot]! * BYTES_PER_TOKEN) / blockBytes
}
