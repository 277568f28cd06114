import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { DisaggHandler } from '../handlers/disagg-handler.ts'
import type { HandlerParts } from '../profile-handler.ts'
import type { ProfileHandlerType } from './plugin-type.ts'

const STAGE_ORDERS: ReadonlyMap<string, 'decode-first' | 'prefill-first'> = new Map([
  ['', 'decode-first'],
  ['decode', 'decode-first'],
  ['decodefirst', 'decode-first'],
  ['prefill', 'prefill-first'],
  ['prefillfirst', 'prefill-first'],
])

const name = z.string()
const decider = z.string().min(1).optional()
/** Former parameters and the place of each now. */
const FORMER = {
  decodeProfile: ['profiles', 'decode'],
  prefillProfile: ['profiles', 'prefill'],
  encodeProfile: ['profiles', 'encode'],
  prefillDeciderPluginName: ['deciders', 'prefill'],
  deciderPluginName: ['deciders', 'prefill'],
  encodeDeciderPluginName: ['deciders', 'encode'],
} as const
type Former = keyof typeof FORMER
const FORMER_NAMES = Object.keys(FORMER) as readonly Former[]

const parameters = object({
  stageOrder: z
    .string()
    .transform(text => STAGE_ORDERS.get(text.toLowerCase().replaceAll(/[-_]/g, '')) ?? text)
    .pipe(z.enum(['decode-first', 'prefill-first']))
    .default('decode-first'),
  profiles: object({ decode: name.optional(), prefill: name.optional(), encode: name.optional() }).optional(),
  deciders: object({ prefill: decider, encode: decider }).optional(),
  decodeProfile: name.optional(),
  prefillProfile: name.optional(),
  encodeProfile: name.optional(),
  prefillDeciderPluginName: decider,
  deciderPluginName: decider,
  encodeDeciderPluginName: decider,
})
  .superRefine((given, context) => {
    const former = FORMER_NAMES.find(each => given[each] !== undefined)
    if (former !== undefined && (given.profiles !== undefined || given.deciders !== undefined))
      context.addIssue({
        code: 'custom',
        path: [former],
        message: 'is the former form of profiles and deciders; use one form or the other',
      })
    const prefill = given.deciders?.prefill ?? given.prefillDeciderPluginName ?? given.deciderPluginName
    if (given.stageOrder === 'prefill-first' && prefill !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['stageOrder'],
        message:
          'prefill-first has no prefill decider: whether to prefill elsewhere is decided before a decode endpoint is known',
      })
  })
  .transform(({ stageOrder, profiles = {}, deciders = {}, ...former }) => ({
    stageOrder,
    profiles: {
      decode: profiles.decode || former.decodeProfile || 'decode',
      prefill: profiles.prefill || former.prefillProfile || 'prefill',
      encode: profiles.encode || former.encodeProfile || 'encode',
    },
    deciders: withoutUndefined({
      prefill: deciders.prefill ?? former.prefillDeciderPluginName ?? former.deciderPluginName,
      encode: deciders.encode ?? former.encodeDeciderPluginName,
    }),
  }))

/** Decode, and where deciders say so prefill and encode on other replicas (epp.md §3.1). */
export const disaggProfileHandler: ProfileHandlerType = {
  type: 'disagg-profile-handler',
  role: 'profile-handler',
  parameters,
  deprecated: given =>
    FORMER_NAMES.filter(each => given[each] !== undefined).map(each => ({
      parameter: each,
      message: `is called ${FORMER[each].join('.')} now`,
    })),
  references: given => {
    const { stageOrder, profiles, deciders } = parameters.parse(given)
    return {
      primary: profiles.decode,
      stages: (['prefill', 'encode'] as const).map(stage => ({
        name: stage,
        profile: profiles[stage],
        ...(deciders[stage] === undefined ? {} : { decider: deciders[stage] }),
        deciderPath: ['deciders', stage],
        needsDecider: stage === 'encode' || stageOrder === 'decode-first',
      })),
    }
  },
  create: (given, parts) => {
    const { stageOrder, profiles, deciders } = parameters.parse(given)
    const prefillFirst = stageOrder === 'prefill-first'
    return new DisaggHandler({
      type: 'disagg-profile-handler',
      decode: parts.profile(profiles.decode),
      prefill: disaggStage(parts, profiles.prefill, deciders.prefill, prefillFirst),
      encode: disaggStage(parts, profiles.encode, deciders.encode, false),
      prefillFirst,
    })
  },
}

/** Undefined: the stage never runs. */
export function disaggStage(parts: HandlerParts, profile: string, decider: string | undefined, always: boolean) {
  const number = parts.profile(profile)
  if (number < 0 || (decider === undefined && !always)) return undefined
  return { profile: number, decider: decider === undefined ? undefined : parts.decider(decider) }
}

function withoutUndefined(deciders: { prefill: string | undefined; encode: string | undefined }) {
  const { prefill, encode } = deciders
  return { ...(prefill === undefined ? {} : { prefill }), ...(encode === undefined ? {} : { encode }) }
}
