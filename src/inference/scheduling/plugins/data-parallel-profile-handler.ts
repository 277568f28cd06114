import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { DataParallelHandler } from '../handlers/data-parallel-handler.ts'
import type { ProfileHandlerType } from './plugin-type.ts'

const parameters = object({ primaryPort: z.int().min(1).max(65_535).default(8000) })

/** Requests go to one port of a replica, whose sidecar hands them on to the rank that a header names (epp.md §3.1). */
export const dataParallelProfileHandler: ProfileHandlerType = {
  type: 'data-parallel-profile-handler',
  role: 'profile-handler',
  parameters,
  deprecated: () => [{ message: 'say single-profile-handler: gateways can address every port of an InferencePool' }],
  references: () => ({ stages: [] }),
  create: given => new DataParallelHandler(parameters.parse(given).primaryPort),
}
