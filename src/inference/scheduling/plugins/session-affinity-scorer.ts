import { scorerType } from './plugin-type.ts'
import { sessionAffinity, sessionParameters } from './session-affinity.ts'

/** 1 for the endpoint that the session's last request went to, else 0 (epp.md §3.3). */
export const sessionAffinityScorer = scorerType('session-affinity-scorer', sessionParameters, given => {
  const affinity = sessionAffinity(given)
  return {
    type: 'session-affinity-scorer',
    sharedWords: () => affinity.words,
    attach: memory => affinity.attach(memory),
    score(candidates, table, out) {
      const slot = affinity.find(candidates, table)
      for (let i = 0; i < candidates.count; i++) out[i] = candidates.slots[i] === slot ? 1 : 0
    },
    chosen: (candidates, table, choice) => affinity.chosen(candidates, table, choice),
  }
})
