import type { Call } from './call.ts'

/** Ways in which a pick's in-flight count falls again (design.md, "In-flight counts"). Each is a no-op for a call that raised none. */

/** The response is over, and data planes that are ours tell of it by their access log, where it is on. */
export function giveBackLogged(call: Call): void {
  const { counted, picked } = call
  if (counted === undefined) return
  call.counted = undefined
  counted.release(picked.slots[0]!, picked.generations[0]!)
}

/** No access log entry will tell of the pick: the decision was not sent, or somebody else's data plane has served the response. */
export function giveBack(call: Call): void {
  const { counted, picked } = call
  if (counted === undefined) return
  call.counted = undefined
  counted.releaseUnlogged(picked.slots[0]!, picked.generations[0]!)
}

/** The request is only just on its way, and nobody will tell when it is over. */
export function giveBackOnceSeen(call: Call): void {
  const { counted, picked } = call
  if (counted === undefined) return
  call.counted = undefined
  counted.releaseOnceSeen(picked.slots[0]!, picked.generations[0]!)
}
