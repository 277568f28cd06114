import { filterType } from './plugin-type.ts'
import { sessionAffinity, sessionParameters } from './session-affinity.ts'

/** Keeps only the endpoint that the session's last request went to, if it is among the candidates; else all (epp.md §3.2). */
export const sessionAffinityFilter = filterType('session-affinity-filter', sessionParameters, given => {
  const affinity = sessionAffinity(given)
  return {
    type: 'session-affinity-filter',
    sharedWords: () => affinity.words,
    attach: memory => affinity.attach(memory),
    filter(candidates, table, kept) {
      const { count, slots } = candidates
      const slot = affinity.find(candidates, table)
      let any = 0
      for (let i = 0; i < count; i++) any |= kept[i] = slots[i] === slot ? 1 : 0
      if (any === 0) kept.fill(1, 0, count)
    },
    chosen: (candidates, table, choice) => affinity.chosen(candidates, table, choice),
  }
})
