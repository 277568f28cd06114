import type { Exchange } from '../extproc/exchange.ts'
import type { Pool } from '../inference/pool.ts'
import type { Call } from './call.ts'

/**
 * Tells the client which endpoints its session has now: tokens that it sends with its next request (epp.md §1.7; table H23, H24 of §8.1).
 * A stage that did not run has none.
 */
export function tellSessions(x: Exchange, { picked }: Call, pool: Pool): void {
  const { sessionHeaders = [] } = pool.plan.scheduling
  for (let i = 0; i < sessionHeaders.length; i++) {
    const { header, of } = sessionHeaders[i]!
    const placement = of === 'prefill' ? picked.prefill : of === 'encode' ? picked.encode : picked
    const token = pool.sessionToken(placement)
    if (token !== undefined) x.responseSet.push(header, token)
  }
}
