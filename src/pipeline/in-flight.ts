import type { Placement } from '../inference/pick.ts'
import type { Call } from './call.ts'

/** Ways in which a pick's in-flight count falls again (design.md, "In-flight counts"). Each is a no-op for a call that raised none. */

/** The response is over, and data planes that are ours tell of it by their access log, where it is on. */
export function giveBackLogged(call: Call): void {
  const { counted, picked } = call
  if (counted === undefined) return
  call.counted = undefined
  counted.inFlight.release(picked.slots[0]!, picked.generations[0]!, picked.tokens)
}

/** No access log entry will tell of the pick: the decision was not sent, or somebody else's data plane has served the response. */
export function giveBack(call: Call): void {
  giveBackStages(call)
  const { counted, picked } = call
  if (counted === undefined) return
  call.counted = undefined
  counted.inFlight.releaseUnlogged(picked.slots[0]!, picked.generations[0]!, picked.tokens)
}

/** The request is only just on its way, and nobody will tell when it is over. */
export function giveBackOnceSeen(call: Call): void {
  const { counted, picked } = call
  if (counted === undefined) return
  call.counted = undefined
  counted.inFlight.releaseOnceSeen(picked.slots[0]!, picked.generations[0]!)
}

/**
 * Other replicas that took part (./stage-headers.ts) have done their work, or never got any. Nobody but us tells of them, whatever releases
 * the request's own replica.
 */
export function giveBackStages(call: Call): void {
  const { staged, picked } = call
  if (staged === undefined) return
  call.staged = undefined
  const { tokens } = picked.prefill
  forEach(picked.prefill, (slot, generation) => staged.inFlight.releaseStage(slot, generation, tokens))
  forEach(picked.encode, (slot, generation) => staged.inFlight.releaseStage(slot, generation, 0))
}

/** As above, but when they will have done it nobody will tell. */
export function giveBackStagesOnceSeen(call: Call): void {
  const { staged, picked } = call
  if (staged === undefined) return
  call.staged = undefined
  forEach(picked.prefill, (slot, generation) => staged.inFlight.releaseStageOnceSeen(slot, generation))
  forEach(picked.encode, (slot, generation) => staged.inFlight.releaseStageOnceSeen(slot, generation))
}

function forEach({ slots, generations, count }: Placement, visit: (slot: number, generation: number) => void): void {
  for (let place = 0; place < count; place++) visit(slots[place]!, generations[place]!)
}
