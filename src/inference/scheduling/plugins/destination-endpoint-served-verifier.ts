import { object } from '../../../config/kinds/common.ts'
import type { SettingType } from './plugin-type.ts'

/** Tells clients in a response header which endpoint the gateway says has served them, for conformance tests (epp.md §3.11). */
export const destinationEndpointServedVerifier: SettingType = {
  type: 'destination-endpoint-served-verifier',
  role: 'response-header',
  parameters: object({}),
}
