import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { SettingType } from './plugin-type.ts'

const profile = z.string().optional()

/** Profile handlers tell replicas of each other themselves: this is accepted because configurations have it (epp.md §3.1). */
export const disaggHeadersHandler: SettingType = {
  type: 'disagg-headers-handler',
  role: 'pre-request',
  parameters: object({ prefillProfile: profile, encodeProfile: profile }),
  deprecated: () => [{ message: 'has no effect: the profile handler sets the headers' }],
}
