import type { EndpointPickerConfig } from '../config/kinds/endpoint-picker-config.ts'
import type { Problem } from '../config/problem.ts'
import { didYouMean } from '../config/suggest.ts'
import type { SchedulingPlan } from '../inference/pool-plan.ts'
import { addFormerDecider } from './picker-former.ts'
import { readBursts } from './picker-bursts.ts'
import { readKvEvents } from './picker-kv-events.ts'
import { readMediaTokens } from './picker-media.ts'
import { readFlowControl } from './picker-flow-control.ts'
import { PickerPlugins } from './picker-plugins.ts'
import { withProducers } from './picker-producers.ts'
import { readAgentSessions, readSessionHeaders } from './picker-sessions.ts'
import { readProfiles } from './picker-profiles.ts'
import { readUsageReports } from './picker-reports.ts'
import { readHooks, readScreeners } from './picker-screeners.ts'

const SERVED_VERIFIER = 'destination-endpoint-served-verifier'

/** The scheduling that an EndpointPickerConfig asks for, with llm-d's defaults. All that is wrong with it goes to `problems`. */
export function readPickerConfig(config: EndpointPickerConfig, problems: Problem[]): Partial<SchedulingPlan> {
  return new Reader(config, problems).read()
}

class Reader {
  readonly #config: EndpointPickerConfig
  readonly #plugins: PickerPlugins

  constructor(config: EndpointPickerConfig, problems: Problem[]) {
    this.#config = config
    this.#plugins = new PickerPlugins(config, problems)
  }

  read(): Partial<SchedulingPlan> {
    this.#readGates()
    addFormerDecider(this.#plugins)
    readAgentSessions(this.#plugins)
    const profiles = readProfiles(this.#config, this.#plugins)
    const produced = withProducers(this.#plugins, profiles)
    const scheduling = {
      ...this.#readParsers(),
      ...produced,
      ...readBursts(this.#plugins, produced),
      ...readSessionHeaders(this.#plugins, profiles),
      ...readFlowControl(this.#config, this.#plugins),
      ...readKvEvents(this.#plugins),
      ...readMediaTokens(this.#plugins),
      ...readUsageReports(this.#plugins),
      ...readScreeners(this.#plugins),
      ...readHooks(this.#plugins),
    }
    this.#plugins.warnUnused()
    const tellsServed = this.#plugins.all().some(({ type }) => type.type === SERVED_VERIFIER)
    return tellsServed ? { ...scheduling, tellsServed } : scheduling
  }

  #readGates(): void {
    for (const [index, gate] of this.#config.featureGates.entries()) {
      const path = ['featureGates', index]
      const [name, value = 'true'] = gate.split('=')
      if (value !== 'true' && value !== 'false')
        this.#plugins.error('invalid-value', path, `must be a name, name=true or name=false`)
      else if (name === 'haPopulateNonLeaderDatastore')
        this.#plugins.warn('no-effect', path, 'has no effect: every replica knows all endpoints')
      else if (name === 'prepareDataPlugins' || name === 'dataLayer')
        this.#plugins.warn('no-effect', path, 'has no effect: it became the rule, data producers are made where needed')
      else if (name !== 'flowControl') {
        const known = ['flowControl', 'haPopulateNonLeaderDatastore']
        this.#plugins.error('invalid-value', path, `there is no feature gate "${name}"${didYouMean(name ?? '', known)}`)
      }
    }
  }

  /** Without a list llm-d's default ones read requests. */
  #readParsers(): Pick<SchedulingPlan, 'parsers'> {
    const { requestHandler, parser } = this.#config
    if (parser !== undefined) this.#plugins.warn('deprecated', ['parser'], 'say requestHandler.parsers')
    const old = parser !== undefined && requestHandler?.parsers === undefined
    const references = old ? [parser] : requestHandler?.parsers
    if (references === undefined) return {}
    const parsers: string[] = []
    const seen = new Set<string>()
    for (const [index, { pluginRef }] of references.entries()) {
      const path = old ? ['parser', 'pluginRef'] : ['requestHandler', 'parsers', index, 'pluginRef']
      const plugin = this.#plugins.resolve(pluginRef, path, seen)
      if (plugin?.type.role === 'parser') parsers.push(plugin.type.type)
      else if (plugin !== undefined)
        this.#plugins.error('invalid-value', path, `"${pluginRef}" is a ${plugin.type.role}, and no parser`)
    }
    return { parsers }
  }
}
