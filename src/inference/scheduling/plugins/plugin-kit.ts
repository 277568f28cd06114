/**
 * What a user's own plug-ins are made with: the argument of the function `plugins` of a module that `--plugins` names
 * (./user-plugins.ts). `signalbox/plugins` is this file; a module needs it for types only.
 */
import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { headerName } from '../../../extproc/header-view.ts'
import type { OwnFairness, OwnPolicyType, SaturationDetector } from '../../flow-control/own-policies.ts'
import type { OrderingPolicy } from '../../flow-control/ordering-policies.ts'
import type { UsageLimit } from '../../flow-control/usage-limits.ts'
import type { DataSource } from '../../own-page.ts'
import type { Admitter } from '../admitter.ts'
import type { Filter } from '../filter.ts'
import type { Picker } from '../picker.ts'
import type { Producer } from '../producer.ts'
import type { StageDecider } from '../profile-handler.ts'
import type { RequestHook } from '../request-hook.ts'
import type { Scorer } from '../scorer.ts'
import type { Screener } from '../screener.ts'
import { guardedAdmitter, guardedHook, guardedProducer } from './guarded-plugins.ts'
import { pickerParameters } from './pickers.ts'
import type {
  AdmitterType,
  DataSourceType,
  DeciderType,
  FilterType,
  OwnApi,
  ParserType,
  PickerType,
  PluginType,
  ProducerType,
  ProfileHandlerType,
  RequestHookType,
  ScorerType,
  ScreenerType,
} from './plugin-type.ts'

/** Its name is its type's. */
type Nameless<Plugin> = Omit<Plugin, 'type'>
type Fields = Readonly<Record<string, z.ZodType>>
type Given<Schemas extends Fields> = z.output<z.ZodObject<Schemas>>
/** Makes a plug-in type of something that `create` returns. */
type Maker<Made, Type> = <Schemas extends Fields>(
  type: string,
  fields: Schemas,
  create: (given: Given<Schemas>) => Made,
) => Type

/**
 * Each method makes a plug-in type of a name that an EndpointPickerConfig then uses. `fields` are the parameters: a schema each, unknown
 * ones are refused. `create` is called for each profile that uses the plug-in, on every thread, with parameters that were checked;
 * what it returns runs for every pick, synchronously, and should not allocate. What scorers, filters, pickers, deciders, profile handlers
 * and screeners throw fails the request (503 `decision_unavailable`), visibly; the others' errors are logged once, and requests go on.
 */
export interface PluginKit {
  readonly z: typeof z
  /** For `candidates.headers`: made once, in `create`. */
  readonly headerName: typeof headerName
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
  /** Runs before filters, for each profile of each pick. What it finds out goes to `candidates.column(…)`, or to the fields that others read. */
  readonly producer: Maker<Nameless<Producer>, ProducerType>
  readonly screener: Maker<Pick<Screener, 'screen'> & Partial<Pick<Screener, 'begin' | 'adopt'>>, ScreenerType>
  /** Asked for each profile of each pick, whatever the request's priority is. */
  readonly admitter: Maker<Pick<Admitter, 'admits'>, AdmitterType>
  readonly saturationDetector: Maker<SaturationDetector, OwnPolicyType>
  readonly fairness: Maker<OwnFairness, OwnPolicyType>
  /** The smallest number goes first; of equal ones, the first to come. */
  readonly ordering: Maker<OrderingPolicy, OwnPolicyType>
  readonly usageLimit: Maker<UsageLimit, OwnPolicyType>
  /** Paths (ends of them, without the first slash) and what their requests must have. */
  readonly parser: (type: string, apis: Readonly<Record<string, OwnApi>>) => ParserType
  readonly dataSource: Maker<DataSource, DataSourceType>
  readonly requestHook: Maker<RequestHook, RequestHookType>
}

/** What a module exports as `plugins`. */
export type Plugins = (kit: PluginKit) => readonly PluginType[]

export const PLUGIN_KIT: PluginKit = {
  z,
  headerName,
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
  producer: (type, fields, create) => {
    const parameters = schemaOf('producer', type, fields, create)
    const produce = (_name: string, given: unknown) => guardedProducer(type, create(parameters.parse(given)))
    return { type, role: 'producer', parameters, produce }
  },
  screener: (type, fields, create) => {
    const parameters = schemaOf('screener', type, fields, create)
    const createScreener = (given: unknown): Screener => {
      const own = create(parameters.parse(given))
      return {
        type,
        adopt: table => own.adopt?.(table),
        begin: (...request) => own.begin?.(...request),
        screen: (candidates, kept) => own.screen(candidates, kept),
      }
    }
    return { type, role: 'screener', parameters, createScreener }
  },
  admitter: (type, fields, create) => {
    const parameters = schemaOf('admitter', type, fields, create)
    const createAdmitter = (given: unknown) => guardedAdmitter(type, create(parameters.parse(given)))
    return { type, role: 'admitter', parameters, createAdmitter }
  },
  saturationDetector: (type, fields, create) => {
    const parameters = schemaOf('saturationDetector', type, fields, create)
    return { type, role: 'saturation-detector', parameters, createDetector: given => create(parameters.parse(given)) }
  },
  fairness: (type, fields, create) => {
    const parameters = schemaOf('fairness', type, fields, create)
    return { type, role: 'fairness-policy', parameters, createFairness: given => create(parameters.parse(given)) }
  },
  ordering: (type, fields, create) => {
    const parameters = schemaOf('ordering', type, fields, create)
    return { type, role: 'ordering-policy', parameters, createOrdering: given => create(parameters.parse(given)) }
  },
  usageLimit: (type, fields, create) => {
    const parameters = schemaOf('usageLimit', type, fields, create)
    return { type, role: 'usage-limit-policy', parameters, createUsageLimit: given => create(parameters.parse(given)) }
  },
  parser: (type, apis) => {
    const wrong = apisFault(apis)
    if (wrong !== undefined) throw new Error(`parser(${JSON.stringify(type)}, apis): ${wrong}`)
    return { type, role: 'parser', parameters: object({}), apis }
  },
  dataSource: (type, fields, create) => {
    const parameters = schemaOf('dataSource', type, fields, create)
    return { type, role: 'data-source', parameters, createSource: given => create(parameters.parse(given)) }
  },
  requestHook: (type, fields, create) => {
    const parameters = schemaOf('requestHook', type, fields, create)
    const createHook = (given: unknown) => guardedHook(type, create(parameters.parse(given)))
    return { type, role: 'request-hook', parameters, createHook }
  },
}

const APIS = z.record(
  z.string().regex(/^[^/?#\s][^?#\s]*$/, 'is no end of a path: without the first slash, and without a query'),
  object({
    name: z.string().min(1).optional(),
    needsModel: z.boolean().optional(),
    required: object({
      name: z.enum(['messages', 'prompt', 'input']),
      form: z.enum(['list', 'text', 'any']),
    }).optional(),
  }),
)

function apisFault(apis: unknown): string | undefined {
  const [issue] = APIS.safeParse(apis).error?.issues ?? []
  return issue && `${issue.path.join('.')}: ${issue.message}`
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
