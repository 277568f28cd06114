/**
 * What a user's own plug-ins are made with: the argument of the function `plugins` of a module that `--plugins` names
 * (./user-plugins.ts). `signalbox/plugins` is this file; a module needs it for types only.
 */
import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { Filter } from '../filter.ts'
import type { Picker } from '../picker.ts'
import type { StageDecider } from '../profile-handler.ts'
import type { Scorer } from '../scorer.ts'
import { pickerParameters } from './pickers.ts'
import type { DeciderType, FilterType, PickerType, PluginType, ProfileHandlerType, ScorerType } from './plugin-type.ts'

/** Its name is its type's. */
type Nameless<Plugin> = Omit<Plugin, 'type'>
type Fields = Readonly<Record<string, z.ZodType>>
type Given<Schemas extends Fields> = z.output<z.ZodObject<Schemas>>

/**
 * Each method makes a plug-in type of a name that an EndpointPickerConfig then uses. `fields` are the parameters: a schema each, unknown
 * ones are refused. `create` is called for each profile that uses the plug-in, on every thread, with parameters that were checked;
 * what it returns runs for every pick, synchronously, and should not allocate. What it throws fails the request (503
 * `decision_unavailable`), visibly.
 */
export interface PluginKit {
  readonly z: typeof z
  readonly scorer: <Schemas extends Fields>(
    type: string,
    fields: Schemas,
    create: (given: Given<Schemas>) => Nameless<Scorer>,
  ) => ScorerType
  readonly filter: <Schemas extends Fields>(
    type: string,
    fields: Schemas,
    create: (given: Given<Schemas>) => Nameless<Filter>,
  ) => FilterType
  readonly decider: <Schemas extends Fields>(
    type: string,
    fields: Schemas,
    create: (given: Given<Schemas>) => Nameless<StageDecider>,
  ) => DeciderType
  /** Has llm-d's parameter `maxNumOfEndpoints`. */
  readonly picker: (type: string, pick: Picker) => PickerType
  /** Says itself which profiles and deciders its parameters refer to. */
  readonly profileHandler: (handler: Omit<ProfileHandlerType, 'role'>) => ProfileHandlerType
}

/** What a module exports as `plugins`. */
export type Plugins = (kit: PluginKit) => readonly PluginType[]

export const PLUGIN_KIT: PluginKit = {
  z,
  scorer: (type, fields, create) => {
    const parameters = schemaOf('scorer', type, fields, create)
    const made = (given: unknown): Scorer => ({ type, ...create(parameters.parse(given)) })
    return { type, role: 'scorer', parameters, create: made }
  },
  filter: (type, fields, create) => {
    const parameters = schemaOf('filter', type, fields, create)
    const made = (given: unknown): Filter => ({ type, ...create(parameters.parse(given)) })
    return { type, role: 'filter', parameters, create: made }
  },
  decider: (type, fields, create) => {
    const parameters = schemaOf('decider', type, fields, create)
    const made = (given: unknown): StageDecider => ({ type, ...create(parameters.parse(given)) })
    return { type, role: 'decider', parameters, create: made }
  },
  picker: (type, pick) => ({ type, role: 'picker', parameters: pickerParameters, pick }),
  profileHandler: handler => ({ ...handler, role: 'profile-handler' }),
}

/** Types are stripped, not checked, before a module of the user's runs: what is missing is said here. @throws Error */
function schemaOf<Schemas extends Fields>(
  role: string,
  type: string,
  fields: Schemas,
  create: unknown,
): z.ZodObject<Schemas> {
  const call = `${role}(${JSON.stringify(type)}, fields, create)`
  if (typeof fields !== 'object' || (fields as Schemas | null) === null)
    throw new Error(`${call}: the fields are missing: an object with a schema for each parameter, {} for none`)
  if (typeof create !== 'function') throw new Error(`${call}: create is missing: a function that makes the ${role}`)
  return object(fields)
}
