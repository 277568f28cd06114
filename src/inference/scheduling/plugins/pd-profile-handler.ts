import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { DisaggHandler } from '../handlers/disagg-handler.ts'
import { disaggStage } from './disagg-profile-handler.ts'
import type { ProfileHandlerType } from './plugin-type.ts'

const parameters = object({
  decodeProfile: z.string().min(1).default('decode'),
  prefillProfile: z.string().min(1).default('prefill'),
  /** 0 = the endpoint's own port. */
  primaryPort: z.int().min(0).max(65_535).default(0),
  deciderPluginName: z.string().min(1).default('prefix-based-pd-decider'),
  /** These three name the prefix cache; there is one. */
  prefixPluginType: z.string().optional(),
  prefixPluginName: z.string().optional(),
  prefixMatchInfoProducerName: z.string().optional(),
})
const UNUSED = ['prefixPluginType', 'prefixPluginName'] as const

/** The former disagg-profile-handler: prefill and decode only, and the primary port of data-parallel replicas (epp.md §3.1). */
export const pdProfileHandler: ProfileHandlerType = {
  type: 'pd-profile-handler',
  role: 'profile-handler',
  parameters,
  deprecated: given => [
    { message: 'say disagg-profile-handler' },
    ...UNUSED.filter(each => given[each] !== undefined).map(each => ({ parameter: each, message: 'has no effect' })),
  ],
  references: given => {
    const { decodeProfile, prefillProfile, deciderPluginName } = parameters.parse(given)
    const stage = { name: 'prefill', profile: prefillProfile, decider: deciderPluginName, needsDecider: true }
    return { primary: decodeProfile, stages: [{ ...stage, deciderPath: ['deciderPluginName'] }] }
  },
  create: (given, parts) => {
    const { decodeProfile, prefillProfile, deciderPluginName, primaryPort } = parameters.parse(given)
    return new DisaggHandler({
      type: 'pd-profile-handler',
      decode: parts.profile(decodeProfile),
      prefill: disaggStage(parts, prefillProfile, deciderPluginName, false),
      encode: undefined,
      prefillFirst: false,
      ...(primaryPort === 0 ? {} : { primaryPort }),
    })
  },
}
