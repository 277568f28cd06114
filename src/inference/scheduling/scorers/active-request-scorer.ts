import type { Scorer } from '../scorer.ts'

/** 1 for an endpoint without requests of ours, else `(max − n) / max` of our in-flight counts (epp.md §3.3). */
export function activeRequestScorer(): Scorer {
  return {
    type: 'active-request-scorer',
    score({ count, inFlight }, _table, out) {
      let max = 0
      for (let i = 0; i < count; i++) if (inFlight[i]! > max) max = inFlight[i]!
      for (let i = 0; i < count; i++) out[i] = inFlight[i] === 0 ? 1 : (max - inFlight[i]!) / max
    },
  }
}
