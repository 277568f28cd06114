import { Verdict } from '../extproc/decider.ts'
import type { Exchange } from '../extproc/exchange.ts'
import type { BurstWindow, HeldRequest } from '../inference/bursts/burst-window.ts'
import { timeoutOf } from '../inference/flow-control/request-terms.ts'
import type { PickRequest } from '../inference/pick.ts'
import type { Call } from './call.ts'
import { goOn } from './deferral.ts'

/**
 * Lets a request wait for others with its prompt before `next` decides, so that they are placed together; not for longer than its own
 * time, nor than the data plane waits (`maxWaitMs`, 0 = not known). Without a prompt there is nothing to wait for.
 */
export function withBurst(
  x: Exchange,
  call: Call,
  bursts: BurstWindow,
  maxWaitMs: number,
  nowMs: () => number,
  next: () => Verdict,
): Verdict {
  const { pick } = call
  pick.burstSlot = -1
  if (pick.prefix === undefined || pick.prefix.isEmpty) return next()
  const held = new HeldCall(x, call, nowMs, next)
  const patienceMs = Math.min(timeoutOf(call.headers), maxWaitMs > 0 ? maxWaitMs : Number.POSITIVE_INFINITY)
  if (!bursts.join(held, patienceMs)) return next()
  call.cancelDeferral = () => bursts.leave(held)
  return Verdict.DEFERRED
}

class HeldCall implements HeldRequest {
  readonly #x: Exchange
  readonly #serial: number
  readonly #call: Call
  readonly #nowMs: () => number
  readonly #next: () => Verdict

  constructor(x: Exchange, call: Call, nowMs: () => number, next: () => Verdict) {
    this.#x = x
    this.#serial = x.serial
    this.#call = call
    this.#nowMs = nowMs
    this.#next = next
  }

  ask(): PickRequest {
    const { pick } = this.#call
    pick.nowMs = this.#nowMs()
    return pick
  }

  release(): void {
    goOn(this.#x, this.#serial, this.#call, this.#next)
  }
}
