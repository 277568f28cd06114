/** What the registry of an EndpointPickerConfig's plug-ins holds: one value of these types per plug-in type. */
import type { z } from 'zod'
import type { Filter } from '../filter.ts'
import type { Picker } from '../picker.ts'
import type { Scorer } from '../scorer.ts'

interface PluginTypeOf<Role extends string> {
  readonly type: string
  readonly role: Role
  /** Strict; its output is plain data that it reads again to the same. */
  readonly parameters: z.ZodType
}

export interface FilterType extends PluginTypeOf<'filter'> {
  /** @throws ZodError */
  readonly create: (parameters: unknown) => Filter
}

export interface ScorerType extends PluginTypeOf<'scorer'> {
  /** @throws ZodError */
  readonly create: (parameters: unknown) => Scorer
}

export interface PickerType extends PluginTypeOf<'picker'> {
  readonly pick: Picker
}

/** Configures something that every pool has anyway: profile handlers and data producers. */
export type SettingType = PluginTypeOf<'profile-handler'> | PluginTypeOf<'producer'>

/** Reads requests. */
export type ParserType = PluginTypeOf<'parser'>

export type PluginType = FilterType | ParserType | PickerType | ScorerType | SettingType

export function filterType<Schema extends z.ZodType>(
  type: string,
  parameters: Schema,
  create: (parameters: z.output<Schema>) => Filter,
): FilterType {
  return { type, role: 'filter', parameters, create: given => create(parameters.parse(given)) }
}

export function scorerType<Schema extends z.ZodType>(
  type: string,
  parameters: Schema,
  create: (parameters: z.output<Schema>) => Scorer,
): ScorerType {
  return { type, role: 'scorer', parameters, create: given => create(parameters.parse(given)) }
}
