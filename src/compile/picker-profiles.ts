import type { EndpointPickerConfig } from '../config/kinds/endpoint-picker-config.ts'
import { didYouMean } from '../config/suggest.ts'
import type { HandlerPlan, NamedProfilePlan, PluginPlan, SchedulingPlan, ScorerPlan } from '../inference/pool-plan.ts'
import type { HandlerReferences, ProfileHandlerType } from '../inference/scheduling/plugins/plugin-type.ts'
import { singleProfileHandler } from '../inference/scheduling/plugins/single-profile-handler.ts'
import type { PickerPlugins, Plugin } from './picker-plugins.ts'

interface Reference {
  readonly pluginRef: string
  readonly weight?: number | undefined
}

/** A profile as far as a configuration says it. */
type ReadProfile = Omit<NamedProfilePlan, 'maxEndpoints'> & { readonly maxEndpoints?: number }

type Handler = Plugin & { readonly type: ProfileHandlerType }

const DEFAULT_NAME = 'default'
/** Lists of endpoints are for retries of the primary one; llm-d's default for any. */
const DEFAULT_ENDPOINTS = 1

/** What llm-d runs without any plug-in (epp.md §2.1). */
const DEFAULT_SCORERS: readonly ScorerPlan[] = [
  { type: 'queue-scorer', weight: 2, parameters: {} },
  { type: 'kv-cache-utilization-scorer', weight: 2, parameters: {} },
  { type: 'prefix-cache-scorer', weight: 3, parameters: {} },
]

/** The scheduling profiles of an EndpointPickerConfig and their handler. */
export function readProfiles(config: EndpointPickerConfig, plugins: PickerPlugins): Partial<SchedulingPlan> {
  if (config.plugins.length === 0 && config.schedulingProfiles.length === 0)
    return { scorers: DEFAULT_SCORERS, filters: [] }
  const profiles = readAll(config, plugins)
  const handler = handlerOf(plugins)
  const references: HandlerReferences = handler?.type.references(handler.parameters) ?? { stages: [] }
  const primary = primaryOf(profiles, handler, references, plugins)
  const deciders = checkStages(profiles, handler, references, plugins)
  const { name, ...rest } = profiles[primary]!
  const others = profiles.filter((profile, index) => index !== primary && runs(profile, references))
  return {
    ...rest,
    ...(name === DEFAULT_NAME ? {} : { profileName: name }),
    ...(others.length === 0 ? {} : { profiles: others.map(each => ({ maxEndpoints: DEFAULT_ENDPOINTS, ...each })) }),
    ...(handler === undefined || deciders === undefined || handler.type === singleProfileHandler
      ? {}
      : { handler: planOf(handler, deciders) }),
  }
}

function readAll({ schedulingProfiles }: EndpointPickerConfig, plugins: PickerPlugins): ReadProfile[] {
  if (schedulingProfiles.length === 0) {
    const all = plugins
      .all()
      .filter(({ type }) => type.role === 'filter' || type.role === 'scorer' || type.role === 'picker')
    return [
      readProfile(
        DEFAULT_NAME,
        -1,
        all.map(({ name }) => ({ pluginRef: name })),
        plugins,
      ),
    ]
  }
  const names = new Set<string>()
  return schedulingProfiles.map(({ name, plugins: references }, index) => {
    if (names.has(name))
      plugins.error('duplicate-profile', ['schedulingProfiles', index, 'name'], `a second profile "${name}"`)
    names.add(name)
    return readProfile(name, index, references, plugins)
  })
}

/** `profile`: its place in the configuration, −1 = nobody wrote it. */
function readProfile(
  name: string,
  profile: number,
  references: readonly Reference[],
  plugins: PickerPlugins,
): ReadProfile {
  const scorers: ScorerPlan[] = []
  const filters: PluginPlan[] = []
  let picker: PluginPlan | undefined
  const seen = new Set<string>()
  for (const [index, { pluginRef, weight }] of references.entries()) {
    const path = ['schedulingProfiles', profile, 'plugins', index]
    const plugin = plugins.resolve(pluginRef, [...path, 'pluginRef'], seen)
    if (plugin === undefined) continue
    const { parameters } = plugin
    const { role, type } = plugin.type
    if (weight !== undefined && role !== 'scorer')
      plugins.warn('no-effect', [...path, 'weight'], 'has no effect: only scorers have a weight')
    if ('filters' in plugin.type && plugin.type.filters(parameters)) filters.push({ type, parameters })
    if (role === 'scorer') scorers.push({ type, weight: weight ?? 1, parameters })
    else if (role === 'filter') filters.push({ type, parameters })
    else if (role === 'producer')
      plugins.warn('no-effect', [...path, 'pluginRef'], `has no effect: "${pluginRef}" is a producer, at work for all`)
    else if (role !== 'picker')
      plugins.error(
        'invalid-value',
        [...path, 'pluginRef'],
        `"${pluginRef}" is a ${role}, and can't stand in a profile`,
      )
    else if (picker === undefined) picker = { type, parameters }
    else plugins.error('duplicate-plugin', profile < 0 ? ['plugins', plugin.index] : path, 'a second picker')
  }
  const maxEndpoints = picker?.parameters['maxNumOfEndpoints']
  return {
    name,
    scorers,
    filters,
    ...(picker === undefined ? {} : { picker }),
    ...(typeof maxEndpoints === 'number' ? { maxEndpoints } : {}),
  }
}

function handlerOf(plugins: PickerPlugins): Handler | undefined {
  const [first, second] = plugins.all().filter((plugin): plugin is Handler => plugin.type.role === 'profile-handler')
  if (second !== undefined) {
    const message = `only one profile handler may be; there is "${first!.name}"`
    plugins.error('duplicate-plugin', ['plugins', second.index], message)
  }
  return first
}

/** What the profile handler refers to; nothing where there is none. */
export function referencesOf(plugins: PickerPlugins): HandlerReferences {
  const handler = plugins.all().find((plugin): plugin is Handler => plugin.type.role === 'profile-handler')
  return handler?.type.references(handler.parameters) ?? { stages: [] }
}

/** Number of the profile whose choice gets the request; 0 where something is wrong. */
function primaryOf(
  profiles: readonly ReadProfile[],
  handler: Handler | undefined,
  { primary, anyProfile = false }: HandlerReferences,
  plugins: PickerPlugins,
): number {
  const only = profiles.length === 1 && anyProfile
  if (primary === undefined || only) {
    if (profiles.length === 1 || (handler === undefined && plugins.failed('profile-handler'))) return 0
    const who =
      handler === undefined ? 'several profiles need a profile handler' : `${handler.type.type} runs one profile`
    const message = `${who}; disagg-profile-handler and header-profile-handler run several`
    plugins.error('too-many-profiles', ['schedulingProfiles', 1], message)
    return 0
  }
  const found = profiles.findIndex(({ name }) => name === primary)
  if (found >= 0) return found
  const names = profiles.map(({ name }) => name)
  const path = ['plugins', handler!.index]
  const message = `there is no profile "${primary}"${didYouMean(primary, names)}`
  if (anyProfile) plugins.warn('unresolved-reference', path, `${message}: requests that name none are refused`)
  else plugins.error('unresolved-reference', path, `${message}, to choose where requests go`)
  return 0
}

/** The deciders that stages name; undefined: what is wrong with them was told. */
function checkStages(
  profiles: readonly ReadProfile[],
  handler: Handler | undefined,
  { primary, anyProfile, stages }: HandlerReferences,
  plugins: PickerPlugins,
): Record<string, PluginPlan> | undefined {
  const deciders: Record<string, PluginPlan> = {}
  let complete = true
  for (const { name, profile, decider, deciderPath, needsDecider } of stages) {
    const at = profiles.findIndex(each => each.name === profile)
    if (at >= 0 && decider === undefined && needsDecider)
      plugins.warn('unused', ['schedulingProfiles', at], `never runs: the profile handler has no ${name} decider`)
    if (decider === undefined) continue
    const path = ['plugins', handler!.index, 'parameters', ...deciderPath]
    const plugin = plugins.refer(decider, path)
    if (plugin?.type.role === 'decider') deciders[decider] = { type: plugin.type.type, parameters: plugin.parameters }
    else {
      complete = false
      if (plugin !== undefined)
        plugins.error('invalid-value', path, `"${decider}" is a ${plugin.type.role}, and no decider`)
    }
    if (at < 0) plugins.warn('unused', path, `has no effect: there is no profile "${profile}"`)
  }
  const known = new Set([primary, ...stages.map(({ profile }) => profile)])
  if (primary !== undefined && anyProfile !== true)
    for (const [index, { name }] of profiles.entries())
      if (!known.has(name))
        plugins.warn('unused', ['schedulingProfiles', index], 'never runs: the profile handler does not know it')
  return complete ? deciders : undefined
}

function runs({ name }: ReadProfile, { anyProfile = false, stages }: HandlerReferences): boolean {
  return (
    anyProfile ||
    stages.some(({ profile, decider, needsDecider }) => profile === name && (decider !== undefined || !needsDecider))
  )
}

function planOf({ type, parameters }: Handler, deciders: HandlerPlan['deciders']): HandlerPlan {
  return { type: type.type, parameters, deciders }
}
