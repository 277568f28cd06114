import type { EndpointPickerConfig } from '../config/kinds/endpoint-picker-config.ts'
import { problemAt } from '../config/object.ts'
import type { FieldPath, Problem } from '../config/problem.ts'
import { explain } from '../config/read-document.ts'
import { didYouMean } from '../config/suggest.ts'
import type { Deprecation, PluginType } from '../inference/scheduling/plugins/plugin-type.ts'
import { pluginType, pluginTypes } from '../inference/scheduling/plugins/registry.ts'
import { DEPRECATED_TYPES, leftOut } from './picker-types.ts'

/** A plug-in that an EndpointPickerConfig declares. */
export interface Plugin {
  readonly name: string
  /** Place among the declared ones. */
  readonly index: number
  readonly type: PluginType
  readonly parameters: Readonly<Record<string, unknown>>
}

/** The plug-ins that an EndpointPickerConfig declares, by name; and what is wrong with it. */
export class PickerPlugins {
  readonly #config: EndpointPickerConfig
  readonly #problems: Problem[]
  readonly #plugins = new Map<string, Plugin>()
  /** Names of plug-ins that are declared, good or bad. */
  readonly #names = new Set<string>()
  readonly #used = new Set<string>()
  /** Roles of those whose parameters are wrong. */
  readonly #failed = new Set<PluginType['role']>()

  constructor(config: EndpointPickerConfig, problems: Problem[]) {
    this.#config = config
    this.#problems = problems
    this.#read()
  }

  /** The good ones. */
  all(): Plugin[] {
    return [...this.#plugins.values()]
  }

  get(name: string): Plugin | undefined {
    return this.#plugins.get(name)
  }

  /** Adds one that the configuration has in a former form. */
  add(plugin: Plugin): void {
    this.#names.add(plugin.name)
    this.#plugins.set(plugin.name, plugin)
  }

  /** Whether there is one of this name, good or bad. */
  declares(name: string): boolean {
    return this.#names.has(name)
  }

  /** Whether a plug-in of this role has wrong parameters, which was told. */
  failed(role: PluginType['role']): boolean {
    return this.#failed.has(role)
  }

  /** The plug-in that a list at `path` refers to; `seen` are the names in that list so far. Undefined: what is wrong was told. */
  resolve(name: string, path: FieldPath, seen: Set<string>): Plugin | undefined {
    if (seen.has(name)) {
      this.error('duplicate-plugin', path, `"${name}" stands here already`)
      return undefined
    }
    seen.add(name)
    return this.refer(name, path)
  }

  /** As `resolve`, for references that are no lists. */
  refer(name: string, path: FieldPath): Plugin | undefined {
    this.#used.add(name)
    const plugin = this.#plugins.get(name)
    if (plugin === undefined && !this.#names.has(name))
      this.error('unresolved-reference', path, `there is no plug-in "${name}"${didYouMean(name, [...this.#names])}`)
    return plugin
  }

  /** A parameter that names a producer of one of these types; one of the first that is named by its type is made where it is not declared. */
  checkProducer({ parameters, index }: Plugin, parameter: string, types: readonly [string, ...string[]]): void {
    const name = parameters[parameter]
    if (typeof name !== 'string' || types.includes(this.#plugins.get(name)?.type.type ?? '')) return
    // Its own error was told.
    const [type] = types
    if (name === type || (this.#names.has(name) && !this.#plugins.has(name))) return
    const candidates = this.all()
      .filter(plugin => types.includes(plugin.type.type))
      .map(plugin => plugin.name)
    const path = ['plugins', index, 'parameters', parameter]
    this.error(
      'unresolved-reference',
      path,
      `there is no ${types.find(each => each === name) ?? type} "${name}"${didYouMean(name, candidates)}`,
    )
  }

  /** Names of the profiles that refer to a plug-in. */
  profilesOf(name: string): string[] {
    return this.#config.schedulingProfiles
      .filter(({ plugins }) => plugins.some(({ pluginRef }) => pluginRef === name))
      .map(profile => profile.name)
  }

  /** Call when all references have been resolved. */
  warnUnused(): void {
    for (const { name, index, type } of this.#plugins.values()) {
      const refers = REFERRERS[type.role]
      if (refers === undefined || this.#used.has(name)) continue
      this.warn('unused', ['plugins', index], `${refers} to the ${type.role} "${name}"`)
    }
  }

  error(code: string, path: FieldPath, message: string): void {
    this.#problems.push(problemAt(this.#config, 'error', code, path, message))
  }

  warn(code: string, path: FieldPath, message: string): void {
    this.#problems.push(problemAt(this.#config, 'warning', code, path, message))
  }

  #read(): void {
    for (const [index, { name: given, type: written, parameters }] of this.#config.plugins.entries()) {
      const name = given ?? written
      const path = ['plugins', index]
      if (this.#names.has(name)) {
        const hint = given === undefined ? `; a second one of this type needs a name` : ''
        const field = given === undefined ? 'type' : 'name'
        this.error('duplicate-plugin', [...path, field], `a second plug-in "${name}"${hint}`)
        continue
      }
      this.#names.add(name)
      const type = this.#typeOf(written, [...path, 'type'])
      if (type === undefined) continue
      for (const { parameter, message } of deprecationsOf(type, parameters)) {
        const at = parameter === undefined ? ['type'] : ['parameters', ...parameter.split('.')]
        this.warn('deprecated', [...path, ...at], `"${parameter ?? written}" is deprecated: ${message}`)
      }
      const read = type.parameters.safeParse(parameters)
      if (read.success) {
        this.#plugins.set(name, { name, index, type, parameters: read.data as Record<string, unknown> })
        continue
      }
      this.#failed.add(type.role)
      for (const issue of read.error.issues)
        for (const { code, path: at, message } of explain(issue, parameters))
          this.error(code, [...path, 'parameters', ...at], message)
    }
  }

  #typeOf(written: string, path: FieldPath): PluginType | undefined {
    const renamed = DEPRECATED_TYPES.get(written)
    if (renamed !== undefined) this.warn('deprecated', path, `"${written}" is called "${renamed}" now`)
    const type = pluginType(renamed ?? written)
    if (type !== undefined) return type
    const reason = leftOut(written)
    const hint = didYouMean(written, pluginTypes()) || `; there are ${pluginTypes().toSorted().join(', ')}`
    const message =
      reason === undefined
        ? `there is no plug-in type "${written}"${hint}`
        : `"${written}" is a plug-in type of llm-d that Signalbox does not have: ${reason}`
    this.error('unknown-plugin', path, message)
    return undefined
  }
}

/** Who refers to plug-ins of a role; those of other roles do their work unnamed. */
const REFERRERS: Readonly<Partial<Record<PluginType['role'], string>>> = {
  decider: 'the profile handler does not refer',
  'fairness-policy': 'flowControl does not refer',
  'ordering-policy': 'flowControl does not refer',
  'usage-limit-policy': 'flowControl does not refer',
  filter: 'no profile refers',
  parser: 'requestHandler does not refer',
  picker: 'no profile refers',
  'saturation-detector': 'flowControl does not refer',
  scorer: 'no profile refers',
}

function deprecationsOf(type: PluginType, parameters: Readonly<Record<string, unknown>>): readonly Deprecation[] {
  return ('deprecated' in type ? type.deprecated?.(parameters) : undefined) ?? []
}
