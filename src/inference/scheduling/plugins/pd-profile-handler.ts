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
  /** Before there were deciders: non-cached tokens of a prompt from which on another replica prefills; 0 = always. */
  threshold: z.int().min(0).max(16_777_216).optional(),
  hashBlockSize: z.int().min(0).max(65_536).optional(),
})
const DEPRECATED: Readonly<Record<string, string>> = {
  prefixPluginType: 'has no effect',
  prefixPluginName: 'has no effect',
  threshold: 'moved to prefix-based-pd-decider: say nonCachedTokens there',
  hashBlockSize: 'has no effect: approx-prefix-cache-producer has the size of blocks',
}

/** The former disagg-profile-handler: prefill and decode only, and the primary port of data-parallel replicas (epp.md §3.1). */
export const pdProfileHandler: ProfileHandlerType = {
  type: 'pd-profile-handler',
  role: 'profile-handler',
  parameters,
  deprecated: given => [
    { message: 'say disagg-profile-handler' },
    ...Object.entries(DEPRECATED)
      .filter(([parameter]) => given[parameter] !== undefined)
      .map(([parameter, message]) => ({ parameter, message })),
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
