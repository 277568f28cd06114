/** What a proxy must do with ext_proc, whichever proxy it is: run on the embedded data plane and on a real Envoy. */
import { beforeAll } from '@jest/globals'
import { detailsCases } from './details-cases.ts'
import { endpointCases } from './endpoint-cases.ts'
import { failureCases } from './failure-cases.ts'
import { modeCases } from './mode-cases.ts'
import { mutationCases } from './mutation-cases.ts'
import type { PlaneStarter } from './planes.ts'
import { replyCases } from './reply-cases.ts'
import { responseCases } from './response-cases.ts'
import { spuriousCases } from './spurious-cases.ts'
import { transcriptCases } from './transcript-cases.ts'
import { useProxy } from './world.ts'

export function allCases(start: PlaneStarter): void {
  beforeAll(() => useProxy(start))
  transcriptCases()
  responseCases()
  detailsCases()
  endpointCases()
  spuriousCases()
  failureCases()
  mutationCases()
  modeCases()
  replyCases()
}
