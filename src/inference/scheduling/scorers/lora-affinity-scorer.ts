import { ADAPTERS_PER_ENDPOINT } from '../../endpoint-table.ts'
import type { Scorer } from '../scorer.ts'

/**
 * 1 where the adapter serves requests already, 0.8 where there is room for one more, 0.6 where it waits for a place, else 0
 * (epp.md §3.3). A base model needs no adapter: 1 everywhere. What a replica said too long ago counts only where no other says more.
 */
export function loraAffinityScorer(): Scorer {
  return {
    type: 'lora-affinity-scorer',
    score({ count, slots, adapter, unknown, known }, table, out) {
      for (let i = 0; i < count; i++) {
        if (adapter === 0) {
          out[i] = 1
          continue
        }
        if (unknown[i] === 1 && known > 0) {
          out[i] = 0
          continue
        }
        const slot = slots[i]!
        const running = table.runningAdapters[slot]!
        const all = running + table.waitingAdapters[slot]!
        const start = slot * ADAPTERS_PER_ENDPOINT
        let at = 0
        while (at < all && table.adapters[start + at] !== adapter) at++
        if (at < running) out[i] = 1
        else if (all < table.maxLora[slot]!) out[i] = 0.8
        else out[i] = at < all ? 0.6 : 0
      }
    },
  }
}
