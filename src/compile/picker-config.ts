import type { EndpointPickerConfig } from '../config/kinds/endpoint-picker-config.ts'
import type { Problem } from '../config/problem.ts'
import { didYouMean } from '../config/suggest.ts'
import type { SchedulingPlan } from '../inference/pool-plan.ts'
import { approxPrefixCacheParameters } from '../inference/scheduling/plugins/settings.ts'
import { PRECISE_PRODUCER, readKvEvents } from './picker-kv-events.ts'
import { readFlowControl } from './picker-flow-control.ts'
import { PickerPlugins, type Plugin } from './picker-plugins.ts'
import { readProfiles } from './picker-profiles.ts'

/** Of a block of the prefix index, whatever is configured, and of a token as llm-d estimates it. */
const LEAST_BLOCK_TOKENS = 64
const BYTES_PER_TOKEN = 4
const PREFIX_PRODUCER = 'approx-prefix-cache-producer'
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
    this.#checkProducers()
    const scheduling = { ...this.#readParsers(), ...readProfiles(this.#config, this.#plugins), ...this.#readPrefix(), ...readFlowControl(this.#config, this.#plugins), ...readKvEvents(this.#plugins) }
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
      else if (name !== 'flowControl') {
        const known = ['flowControl', 'haPopulateNonLeaderDatastore']
        this.#plugins.error('invalid-value', path, `there is no feature gate "${name}"${didYouMean(name ?? '', known)}`)
      }
    }
  }

  /** Producers of which there may be one. */
  #checkProducers(): void {
    const first = new Map<string, Plugin>()
    for (const plugin of this.#plugins.all()) {
      const { role, type } = plugin.type
      if (role !== 'producer') continue
      const before = first.get(type)
      if (before === undefined) {
        first.set(type, plugin)
        continue
      }
      const message = `only one ${type} is supported yet; there is "${before.name}"`
      this.#plugins.error('not-supported', ['plugins', plugin.index], message)
    }
    for (const plugin of this.#plugins.all()) {
      if (!this.#isPrecise(plugin)) this.#plugins.checkProducer(plugin, 'prefixMatchInfoProducerName', PREFIX_PRODUCER)
      this.#plugins.checkProducer(plugin, 'inFlightLoadProducerName', 'inflight-load-producer')
    }
  }

  /** It asks the precise prefix cache, by its name, or by its type where nobody declared it. */
  #isPrecise({ parameters }: Plugin): boolean {
    const name = String(parameters['prefixMatchInfoProducerName'])
    return name === PRECISE_PRODUCER || this.#plugins.get(name)?.type.type === PRECISE_PRODUCER
  }

  /** Without a list llm-d's default ones read requests. */
  #readParsers(): Pick<SchedulingPlan, 'parsers'> {
    const references = this.#config.requestHandler?.parsers
    if (references === undefined) return {}
    const parsers: string[] = []
    const seen = new Set<string>()
    for (const [index, { pluginRef }] of references.entries()) {
      const path = ['requestHandler', 'parsers', index, 'pluginRef']
      const plugin = this.#plugins.resolve(pluginRef, path, seen)
      if (plugin?.type.role === 'parser') parsers.push(plugin.type.type)
      else if (plugin !== undefined)
        this.#plugins.error('invalid-value', path, `"${pluginRef}" is a ${plugin.type.role}, and no parser`)
    }
    return { parsers }
  }

  #readPrefix(): Partial<SchedulingPlan> {
    const producer = this.#plugins.all().find(({ type }) => type.type === PREFIX_PRODUCER)
    const given = approxPrefixCacheParameters.parse(producer?.parameters ?? {})
    return {
      prefixBlockBytes: Math.max(LEAST_BLOCK_TOKENS, given.blockSizeTokens) * BYTES_PER_TOKEN,
      prefixBlocksPerEndpoint: given.lruCapacityPerServer,
      ...(given.maxPrefixTokensToMatch === undefined
        ? {}
        : { prefixBytes: given.maxPrefixTokensToMatch * BYTES_PER_TOKEN }),
    }
  }
}
