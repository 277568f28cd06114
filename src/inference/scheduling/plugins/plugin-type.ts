/** What the registry of an EndpointPickerConfig's plug-ins holds: one value of these types per plug-in type. */
import type { z } from 'zod'
import type { FlowPluginType } from '../../flow-control/flow-plugins.ts'
import type { OwnPolicyType } from '../../flow-control/own-policies.ts'
import type { DataSource } from '../../own-page.ts'
import type { Admitter } from '../admitter.ts'
import type { Filter } from '../filter.ts'
import type { Producer } from '../producer.ts'
import type { Picker } from '../picker.ts'
import type { HandlerParts, ProfileHandler, StageDecider } from '../profile-handler.ts'
import type { RequestHook } from '../request-hook.ts'
import type { Scorer } from '../scorer.ts'
import type { Screener } from '../screener.ts'

/** What a plug-in looks at besides loads, and a data producer provides (epp.md §2.1). */
export type Need = 'prefix' | 'prompt' | 'in-flight-tokens' | 'latency' | 'media' | 'output-cap'

interface PluginTypeOf<Role extends string> {
  readonly type: string
  readonly role: Role
  /** Strict; its output is plain data that it reads again to the same. */
  readonly parameters: z.ZodType
  /** What plug-ins with these parameters look at; producers of it are made where none is declared. Default: nothing. */
  readonly needs?: ((parameters: unknown) => readonly Need[]) | undefined
  /** What is deprecated about it, for a warning; of the parameters as they were written. */
  readonly deprecated?: (parameters: Readonly<Record<string, unknown>>) => readonly Deprecation[]
}

export interface Deprecation {
  /** A parameter, with dots where it is inside of another; absent: the type itself. */
  readonly parameter?: string
  readonly message: string
}

export interface FilterType extends PluginTypeOf<'filter'> {
  /** @throws ZodError */
  readonly create: (parameters: unknown) => Filter
}

export interface ScorerType extends PluginTypeOf<'scorer'> {
  /** @throws ZodError */
  readonly create: (parameters: unknown) => Scorer
}

/** A scorer that is a filter before it, where its parameters say so. */
export interface FilteringScorerType extends ScorerType {
  readonly filters: (parameters: unknown) => boolean
  /** @throws ZodError */
  readonly createFilter: (parameters: unknown) => Filter
}

/** Something that fills in facts of candidates for each pick. */
export interface ProducerType extends PluginTypeOf<'producer'> {
  /** `name`: the instance's. @throws ZodError */
  readonly produce: (name: string, parameters: unknown) => Producer
}

/** Refuses requests whose candidates are known; others stand with flow control (../../flow-control/flow-plugins.ts). */
export interface AdmitterType extends PluginTypeOf<'admitter'> {
  /** @throws ZodError */
  readonly createAdmitter: (parameters: unknown) => Admitter
}

/** Leaves out endpoints for the whole request, before all profiles. */
export interface ScreenerType extends PluginTypeOf<'screener'> {
  /** @throws ZodError */
  readonly createScreener: (parameters: unknown) => Screener
}

export interface PickerType extends PluginTypeOf<'picker'> {
  readonly pick: Picker
}

/** What a profile handler refers to by name; for the check of a configuration. */
export interface HandlerReferences {
  /** The profile whose choice gets the request; absent: the only one that there is. */
  readonly primary?: string
  /** It runs any of the profiles, not just the primary one and those of the stages. */
  readonly anyProfile?: boolean
  readonly stages: readonly HandlerStage[]
}

interface HandlerStage {
  /** `prefill`, `encode` */
  readonly name: string
  /** The stage is left out when there is none. */
  readonly profile: string
  readonly decider?: string
  /** Path of the decider's name in the parameters. */
  readonly deciderPath: readonly string[]
  /** Without a decider the stage never runs. */
  readonly needsDecider: boolean
}

export interface ProfileHandlerType extends PluginTypeOf<'profile-handler'> {
  readonly references: (parameters: unknown) => HandlerReferences
  /** Undefined: the primary profile runs, and that is all. @throws ZodError, UnknownPluginError */
  readonly create: (parameters: unknown, parts: HandlerParts) => ProfileHandler | undefined
}

export interface DeciderType extends PluginTypeOf<'decider'> {
  /** @throws ZodError */
  readonly create: (parameters: unknown) => StageDecider
}

/** Configures something that every pool has anyway (data producers), or does (hooks before the request goes on, and on its response). */
export type SettingType =
  | PluginTypeOf<'producer'>
  | PluginTypeOf<'request-header'>
  | PluginTypeOf<'pre-request'>
  | PluginTypeOf<'response-header'>
  | PluginTypeOf<'response-body'>

/** Feeds the endpoints' data, on the main thread. */
export type DataLayerType = PluginTypeOf<'data-source'> | PluginTypeOf<'extractor'> | PluginTypeOf<'discovery'>

/** A user's own, which reads a page of its own. */
export interface DataSourceType extends PluginTypeOf<'data-source'> {
  /** @throws ZodError, and whatever the user's code does */
  readonly createSource: (parameters: unknown) => DataSource
}

/** Reads requests. */
export interface ParserType extends PluginTypeOf<'parser'> {
  /** A user's own: what it claims, by the end of the path. */
  readonly apis?: Readonly<Record<string, OwnApi>>
}

/** What requests of a path must have. */
export interface OwnApi {
  /** For people. Default: the path. */
  readonly name?: string
  /** A request without a model is refused. Default: false. */
  readonly needsModel?: boolean
  /** A field without which it is refused, and what that must be: as those of `RequiredField` (src/llm/request-apis.ts). */
  readonly required?: { readonly name: 'messages' | 'prompt' | 'input'; readonly form: 'list' | 'text' | 'any' }
}

/** A user's own: told of requests. */
export interface RequestHookType extends PluginTypeOf<'request-hook'> {
  /** @throws ZodError */
  readonly createHook: (parameters: unknown) => Required<RequestHook>
}

export type PluginType =
  | AdmitterType
  | DataLayerType
  | DataSourceType
  | DeciderType
  | FilterType
  | FlowPluginType
  | FilteringScorerType
  | OwnPolicyType
  | ParserType
  | PickerType
  | ProducerType
  | ProfileHandlerType
  | RequestHookType
  | ScorerType
  | ScreenerType
  | SettingType

export function filterType<Schema extends z.ZodType>(
  type: string,
  parameters: Schema,
  create: (parameters: z.output<Schema>) => Filter,
  needs?: (parameters: z.output<Schema>) => readonly Need[],
): FilterType {
  return {
    type,
    role: 'filter',
    parameters,
    create: given => create(parameters.parse(given)),
    needs: needs && (given => needs(parameters.parse(given))),
  }
}

export function scorerType<Schema extends z.ZodType>(
  type: string,
  parameters: Schema,
  create: (parameters: z.output<Schema>) => Scorer,
  needs?: (parameters: z.output<Schema>) => readonly Need[],
): ScorerType {
  return {
    type,
    role: 'scorer',
    parameters,
    create: given => create(parameters.parse(given)),
    needs: needs && (given => needs(parameters.parse(given))),
  }
}
