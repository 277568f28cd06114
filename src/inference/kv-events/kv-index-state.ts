/**
 * Shared memory of a KV index (./kv-index.ts): a header, then buckets of seven ways. A bucket begins on a cache line that has the low key
 * words, the high ones, and the bucket's version; then come for each way the sets of slots, one for each tier. A key may lie in two buckets,
 * so that the table can be nearly full before one that it needs is.
 */

export const WAYS = 7
/** Offsets in a bucket, in 32-bit words. */
export const HIGH = 1 * WAYS
export const VERSION = 2 * WAYS
export const SETS = 16

/** Block sizes that the endpoints of a pool may have at once. */
export const MAX_BLOCK_SIZES = 4

const LINE_WORDS = 16
const HEADER_WORDS = 16

/** Number of the one bucket or the other of a key. */
export function firstBucket(high: number, buckets: number): number {
  return high & (buckets - 1)
}

export function secondBucket(low: number, high: number, buckets: number): number {
  return ((low >>> 1) ^ (high >>> 16)) & (buckets - 1)
}

export interface KvIndexState {
  /** A multiple of 32. */
  readonly slots: number
  readonly tiers: number
  /** A power of two. */
  readonly buckets: number
  readonly memory: SharedArrayBuffer
}

/** The header's parts, as offsets in 32-bit words. */
export interface KvIndexLayout {
  /** `MAX_BLOCK_SIZES` words: block sizes in use, in tokens, 0 = none. */
  readonly blockSizes: number
  /** For each of them a set of slots: those whose blocks have it. Only slots whose events we follow are in one. */
  readonly members: number
  readonly buckets: number
  /** Words of a set of slots, of a way, of a bucket. */
  readonly words: number
  readonly way: number
  readonly stride: number
}

export function kvIndexLayout({ slots, tiers }: Pick<KvIndexState, 'slots' | 'tiers'>): KvIndexLayout {
  const words = slots >> 5
  const way = tiers * words
  return {
    blockSizes: 0,
    members: HEADER_WORDS,
    buckets: roundUp(HEADER_WORDS + MAX_BLOCK_SIZES * words, LINE_WORDS),
    words,
    way,
    stride: roundUp(SETS + WAYS * way, LINE_WORDS),
  }
}

/** Memory for at least `blocks` keys, as far as `maxBytes` reaches. */
export function createKvIndexState(slots: number, tiers: number, blocks: number, maxBytes: number): KvIndexState {
  const size = { slots: roundUp(Math.max(32, slots), 32), tiers }
  const { buckets: start, stride } = kvIndexLayout(size)
  let buckets = 16
  while (buckets * WAYS < blocks && bytes(start, buckets * 2, stride) <= maxBytes) buckets *= 2
  return { ...size, buckets, memory: new SharedArrayBuffer(bytes(start, buckets, stride)) }
}

function bytes(start: number, buckets: number, stride: number): number {
  return 4 * (start + buckets * stride)
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to
}
