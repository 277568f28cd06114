import type { Scorer } from '../scorer.ts'

/** `1 − usage` of the KV cache. */
export function kvCacheUtilizationScorer(): Scorer {
  return {
    type: 'kv-cache-utilization-scorer',
    score({ count, kvUsage }, _table, out) {
      for (let i = 0; i < count; i++) out[i] = 1 - kvUsage[i]!
    },
  }
}
