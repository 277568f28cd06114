import type { EndpointPickerConfig } from '../config/kinds/endpoint-picker-config.ts'
import { problemAt } from '../config/object.ts'
import type { FieldPath, Problem } from '../config/problem.ts'
import { explain } from '../config/read-document.ts'
import { didYouMean } from '../config/suggest.ts'
import type { PluginPlan, SchedulingPlan, ScorerPlan } from '../inference/pool-plan.ts'
import type { PluginType } from '../inference/scheduling/plugins/plugin-type.ts'
import { PLUGIN_TYPES, pluginType } from '../inference/scheduling/plugins/registry.ts'
import { approxPrefixCacheParameters } from '../inference/scheduling/plugins/settings.ts'
import { DEPRECATED_TYPES, UNSUPPORTED_TYPES } from './picker-types.ts'

/** Of a block of the prefix index, whatever is configured, and of a token as llm-d estimates it. */
const LEAST_BLOCK_TOKENS = 64
const BYTES_PER_TOKEN = 4
const PREFIX_PRODUCER = 'approx-prefix-cache-producer'

interface Plugin {
  readonly name: string
  readonly index: number
  readonly type: PluginType
  readonly parameters: Readonly<Record<string, unknown>>
}

interface Reference {
  readonly pluginRef: string
  readonly weight?: number | undefined
}

/** What llm-d runs without any plug-in (epp.md §2.1). */
const DEFAULT_SCORERS: readonly ScorerPlan[] = [
  { type: 'queue-scorer', weight: 2, parameters: {} },
  { type: 'kv-cache-utilization-scorer', weight: 2, parameters: {} },
  { type: 'prefix-cache-scorer', weight: 3, parameters: {} },
]

/** The scheduling that an EndpointPickerConfig asks for, with llm-d's defaults. All that is wrong with it goes to `problems`. */
export function readPickerConfig(config: EndpointPickerConfig, problems: Problem[]): Partial<SchedulingPlan> {
  return new Reader(config, problems).read()
}

class Reader {
  readonly #config: EndpointPickerConfig
  readonly #problems: Problem[]
  readonly #plugins = new Map<string, Plugin>()
  /** Names of plug-ins that are declared, good or bad. */
  readonly #names = new Set<string>()
  readonly #used = new Set<string>()

  constructor(config: EndpointPickerConfig, problems: Problem[]) {
    this.#config = config
    this.#problems = problems
  }

  read(): Partial<SchedulingPlan> {
    this.#readGates()
    this.#readPlugins()
    this.#checkSettings()
    return { ...this.#readParsers(), ...this.#readProfile(), ...this.#readPrefix() }
  }

  #readGates(): void {
    for (const [index, gate] of this.#config.featureGates.entries()) {
      const path = ['featureGates', index]
      const [name, value = 'true'] = gate.split('=')
      if (value !== 'true' && value !== 'false')
        this.#error('invalid-value', path, `must be a name, name=true or name=false`)
      else if (name === 'haPopulateNonLeaderDatastore')
        this.#warn('no-effect', path, 'has no effect: every replica knows all endpoints')
      else if (name !== 'flowControl') {
        const known = ['flowControl', 'haPopulateNonLeaderDatastore']
        this.#error('invalid-value', path, `there is no feature gate "${name}"${didYouMean(name ?? '', known)}`)
      } else if (value === 'true') this.#error('not-supported', path, 'flow control is not supported yet')
    }
  }

  #readPlugins(): void {
    for (const [index, { name: given, type: written, parameters }] of this.#config.plugins.entries()) {
      const name = given ?? written
      const path = ['plugins', index]
      if (this.#names.has(name)) {
        const hint = given === undefined ? `; a second one of this type needs a name` : ''
        this.#error(
          'duplicate-plugin',
          [...path, given === undefined ? 'type' : 'name'],
          `a second plug-in "${name}"${hint}`,
        )
        continue
      }
      this.#names.add(name)
      const type = this.#typeOf(written, [...path, 'type'])
      if (type === undefined) continue
      const read = type.parameters.safeParse(parameters)
      if (read.success) {
        this.#plugins.set(name, { name, index, type, parameters: read.data as Record<string, unknown> })
        continue
      }
      for (const issue of read.error.issues)
        for (const { code, path: at, message } of explain(issue, parameters))
          this.#error(code, [...path, 'parameters', ...at], message)
    }
  }

  #typeOf(written: string, path: FieldPath): PluginType | undefined {
    const renamed = DEPRECATED_TYPES.get(written)
    if (renamed !== undefined) this.#warn('deprecated', path, `"${written}" is called "${renamed}" now`)
    const type = pluginType(renamed ?? written)
    if (type !== undefined) return type
    const supported = `supported are ${PLUGIN_TYPES.toSorted().join(', ')}`
    if (UNSUPPORTED_TYPES.has(written))
      this.#error('not-supported', path, `plug-in type "${written}" is not supported yet; ${supported}`)
    else {
      const hint = didYouMean(written, [...PLUGIN_TYPES, ...UNSUPPORTED_TYPES])
      this.#error('unknown-plugin', path, `there is no plug-in type "${written}"${hint}; ${supported}`)
    }
    return undefined
  }

  /** Plug-ins of which there may be one. */
  #checkSettings(): void {
    const first = new Map<string, Plugin>()
    for (const plugin of this.#plugins.values()) {
      const { role, type } = plugin.type
      if (role !== 'profile-handler' && role !== 'producer') continue
      const key = role === 'producer' ? type : role
      const before = first.get(key)
      if (before === undefined) first.set(key, plugin)
      else if (role === 'producer')
        this.#error(
          'not-supported',
          ['plugins', plugin.index],
          `only one ${type} is supported yet; there is "${before.name}"`,
        )
      else
        this.#error(
          'duplicate-plugin',
          ['plugins', plugin.index],
          `only one profile handler may be; there is "${before.name}"`,
        )
    }
    for (const plugin of this.#plugins.values()) {
      this.#checkProducer(plugin, 'prefixMatchInfoProducerName', PREFIX_PRODUCER)
      this.#checkProducer(plugin, 'inFlightLoadProducerName', 'inflight-load-producer')
    }
  }

  /** A producer that is named by its type is made where it is not declared. */
  #checkProducer({ parameters, index }: Plugin, parameter: string, type: string): void {
    const name = parameters[parameter]
    if (typeof name !== 'string' || this.#plugins.get(name)?.type.type === type) return
    // Its own error was told.
    if (name === type || (this.#names.has(name) && !this.#plugins.has(name))) return
    const candidates = [...this.#plugins.values()]
      .filter(plugin => plugin.type.type === type)
      .map(plugin => plugin.name)
    const path = ['plugins', index, 'parameters', parameter]
    this.#error('unresolved-reference', path, `there is no ${type} "${name}"${didYouMean(name, candidates)}`)
  }

  #readProfile(): Pick<SchedulingPlan, 'scorers' | 'filters'> & Partial<SchedulingPlan> {
    const { plugins, schedulingProfiles } = this.#config
    const [profile, second] = schedulingProfiles
    if (plugins.length === 0 && profile === undefined) return { scorers: DEFAULT_SCORERS, filters: [] }
    if (second !== undefined) {
      const message = 'only one profile is supported yet: several need a profile handler for prefill and decode'
      this.#error('not-supported', ['schedulingProfiles', 1], message)
    }
    const scorers: ScorerPlan[] = []
    const filters: PluginPlan[] = []
    let picker: PluginPlan | undefined
    const references: readonly Reference[] =
      profile?.plugins ??
      [...this.#plugins.values()]
        .filter(({ type }) => type.role === 'filter' || type.role === 'scorer' || type.role === 'picker')
        .map(({ name }) => ({ pluginRef: name }))
    for (const [index, { pluginRef, weight }] of references.entries()) {
      const path = ['schedulingProfiles', 0, 'plugins', index]
      const plugin = this.#resolve(pluginRef, [...path, 'pluginRef'])
      if (plugin === undefined) continue
      const { parameters } = plugin
      const { role, type } = plugin.type
      if (weight !== undefined && role !== 'scorer')
        this.#warn('no-effect', [...path, 'weight'], 'has no effect: only scorers have a weight')
      if (role === 'scorer') scorers.push({ type, weight: weight ?? 1, parameters })
      else if (role === 'filter') filters.push({ type, parameters })
      else if (role !== 'picker')
        this.#error(
          'invalid-value',
          [...path, 'pluginRef'],
          `"${pluginRef}" is a ${role}, and can't stand in a profile`,
        )
      else if (picker === undefined) picker = { type, parameters }
      else this.#error('duplicate-plugin', profile === undefined ? ['plugins', plugin.index] : path, 'a second picker')
    }
    this.#warnUnused()
    const maxEndpoints = picker?.parameters['maxNumOfEndpoints']
    return {
      scorers,
      filters,
      ...(picker === undefined ? {} : { picker }),
      ...(typeof maxEndpoints === 'number' ? { maxEndpoints } : {}),
    }
  }

  /** Without a list llm-d's default ones read requests. */
  #readParsers(): Pick<SchedulingPlan, 'parsers'> {
    const references = this.#config.requestHandler?.parsers
    if (references === undefined) return {}
    const parsers: string[] = []
    for (const [index, { pluginRef }] of references.entries()) {
      const path = ['requestHandler', 'parsers', index, 'pluginRef']
      const plugin = this.#resolve(pluginRef, path)
      if (plugin?.type.role === 'parser') parsers.push(plugin.type.type)
      else if (plugin !== undefined)
        this.#error('invalid-value', path, `"${pluginRef}" is a ${plugin.type.role}, and no parser`)
    }
    return { parsers }
  }

  #resolve(name: string, path: FieldPath): Plugin | undefined {
    if (this.#used.has(name)) {
      this.#error('duplicate-plugin', path, `"${name}" is used already`)
      return undefined
    }
    this.#used.add(name)
    const plugin = this.#plugins.get(name)
    if (plugin === undefined && !this.#names.has(name))
      this.#error('unresolved-reference', path, `there is no plug-in "${name}"${didYouMean(name, [...this.#names])}`)
    return plugin
  }

  #warnUnused(): void {
    for (const { name, index, type } of this.#plugins.values()) {
      if (this.#used.has(name) || type.role === 'producer' || type.role === 'profile-handler') continue
      this.#warn(
        'unused',
        ['plugins', index],
        `${type.role === 'parser' ? 'requestHandler does not refer' : 'no profile refers'} to the ${type.role} "${name}"`,
      )
    }
  }

  #readPrefix(): Partial<SchedulingPlan> {
    const producer = [...this.#plugins.values()].find(({ type }) => type.type === PREFIX_PRODUCER)
    const given = approxPrefixCacheParameters.parse(producer?.parameters ?? {})
    return {
      prefixBlockBytes: Math.max(LEAST_BLOCK_TOKENS, given.blockSizeTokens) * BYTES_PER_TOKEN,
      prefixBlocksPerEndpoint: given.lruCapacityPerServer,
      ...(given.maxPrefixTokensToMatch === undefined
        ? {}
        : { prefixBytes: given.maxPrefixTokensToMatch * BYTES_PER_TOKEN }),
    }
  }

  #error(code: string, path: FieldPath, message: string): void {
    this.#problems.push(problemAt(this.#config, 'error', code, path, message))
  }

  #warn(code: string, path: FieldPath, message: string): void {
    this.#problems.push(problemAt(this.#config, 'warning', code, path, message))
  }
}
