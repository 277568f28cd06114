import { headerName, type HeaderView } from '../../../extproc/header-view.ts'
import type { Candidates } from '../candidates.ts'

const TTFT = [headerName('x-llm-d-slo-ttft-ms'), headerName('x-slo-ttft-ms')] as const
const TPOT = [headerName('x-llm-d-slo-tpot-ms'), headerName('x-slo-tpot-ms')] as const

/**
 * How far predictions stay below what the request's headers ask for (epp.md §1.7, §3.4), ms. Without such a header, or with one that is no
 * number above 0, the aim is 0, so that all headrooms are negative and still in order.
 */
export class SloHeadroom {
  #ttft = 0
  #tpot = 0

  begin({ headers, tpotTargetFactor }: Candidates): void {
    this.#ttft = aim(headers, TTFT)
    this.#tpot = aim(headers, TPOT) * tpotTargetFactor
  }

  ofTtft({ ttft }: Candidates, i: number): number {
    return this.#ttft - ttft[i]!
  }

  ofTpot({ tpot }: Candidates, i: number): number {
    return this.#tpot - tpot[i]!
  }
}

function aim(headers: HeaderView | undefined, [name, former]: typeof TTFT): number {
  const ms = Number(headers?.get(name) ?? headers?.get(former) ?? 0)
  return ms > 0 && ms < Number.POSITIVE_INFINITY ? ms : 0
}
