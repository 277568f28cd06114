import { z } from 'zod'
import { headerName, object } from '../../../config/kinds/common.ts'
import { HeaderHandler } from '../handlers/header-handler.ts'
import type { ProfileHandlerType } from './plugin-type.ts'

const parameters = object({
  headerName: headerName.default('epp-profile'),
  defaultProfile: z.string().trim().min(1).default('decode'),
})

/** One profile a request, by a header (epp.md §3.1). */
export const headerProfileHandler: ProfileHandlerType = {
  type: 'header-profile-handler',
  role: 'profile-handler',
  parameters,
  references: given => ({ primary: parameters.parse(given).defaultProfile, anyProfile: true, stages: [] }),
  create: (given, parts) => {
    const { headerName: header, defaultProfile } = parameters.parse(given)
    return new HeaderHandler({ header, defaultProfile }, parts)
  },
}
