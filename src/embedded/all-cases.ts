/** What a proxy must do with ext_proc, whichever proxy it is: run on the embedded data plane and on a real Envoy. */
import { endpointCases } from './endpoint-cases.ts'
import { faultCases } from './fault-cases.ts'
import type { PlaneStarter } from './test-support.ts'
import { useProxy } from './test-world.ts'
import { transcriptCases } from './transcript-cases.ts'

export function allCases(start: PlaneStarter): void {
  useProxy(start)
  transcriptCases()
  endpointCases()
  faultCases()
}
