/**
 * What GIE's conformance tests look at (epp.md §1.7, §1.9), for pools with the plug-in `destination-endpoint-served-verifier`: a response header
 * with the endpoint that has served. The gateway should say which that is; of one that says nothing, the test's server tells which one we
 * wanted, as GIE's own light picker has it do.
 */
import type { Decision } from '../extproc/decision.ts'

export const SERVED_HEADER = 'x-conformance-test-served-endpoint'
/** The tests' server answers with the headers that stand here. */
const ECHOED = 'x-echo-set-header'

export function expectServed(decision: Decision, endpoints: string): void {
  const comma = endpoints.indexOf(',')
  if (endpoints !== '') decision.set(ECHOED, `${SERVED_HEADER}:${comma < 0 ? endpoints : endpoints.slice(0, comma)}`)
}
