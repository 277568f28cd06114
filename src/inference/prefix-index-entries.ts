import { HIGH, prefixIndexLayout, type PrefixIndexState, WAYS } from './prefix-index-state.ts'

/** Buckets looked at: of a larger table every so many. Each of them is a cache miss. */
const MOST_BUCKETS = 16 * 1024

/** Blocks that a prefix index has, by a sample of its table. */
export function estimateEntries({ slots, buckets, stride, memory }: PrefixIndexState): number {
  const words = new Int32Array(memory)
  const first = prefixIndexLayout(slots).buckets
  const step = Math.max(1, Math.ceil(buckets / MOST_BUCKETS))
  let looked = 0
  let entries = 0
  for (let bucket = 0; bucket < buckets; bucket += step) {
    const at = first + bucket * stride
    looked++
    for (let way = 0; way < WAYS; way++) if (words[at + way] !== 0 || words[at + HIGH + way] !== 0) entries++
  }
  return Math.round((entries / looked) * buckets)
}
