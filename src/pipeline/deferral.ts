import { Verdict } from '../extproc/decider.ts'
import type { Exchange } from '../extproc/exchange.ts'
import type { Call } from './call.ts'

/**
 * What a decision waited for (`Call.cancelDeferral`) is there, or will not come: `next` decides, or finds something else to wait for. Nothing
 * happens when the stream is over. What `next` throws ends it as any error of a decider does.
 */
export function goOn(x: Exchange, serial: number, call: Call, next: () => Verdict): void {
  if (serial !== x.serial) return
  call.cancelDeferral = undefined
  let verdict: Verdict
  try {
    verdict = next()
  } catch (error) {
    x.resume(serial, () => {
      throw error
    })
    return
  }
  if (verdict !== Verdict.DEFERRED) x.resume(serial)
}
