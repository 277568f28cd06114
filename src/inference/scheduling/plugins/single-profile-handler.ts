import { object } from '../../../config/kinds/common.ts'
import type { ProfileHandlerType } from './plugin-type.ts'

/** The only profile is the primary one (epp.md §3.1). */
export const singleProfileHandler: ProfileHandlerType = {
  type: 'single-profile-handler',
  role: 'profile-handler',
  parameters: object({}),
  references: () => ({ stages: [] }),
  create: () => undefined,
}
