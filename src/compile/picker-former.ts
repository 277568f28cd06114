/** Older forms of an EndpointPickerConfig (before llm-d v0.7): what moved since is taken from where it was. The warnings stand with the types. */
import { BYTES_PER_TOKEN } from '../inference/scheduling/candidates.ts'
import { pluginType } from '../inference/scheduling/plugins/registry.ts'
import { FORMER_PREFIX_CACHE } from '../inference/scheduling/plugins/settings.ts'
import type { PickerPlugins } from './picker-plugins.ts'

const PREFIX_PRODUCER = 'approx-prefix-cache-producer'

/** Before there were deciders pd-profile-handler had a threshold: it makes one of its own. Call before profiles are read. */
export function addFormerDecider(plugins: PickerPlugins): void {
  const handler = plugins.all().find(({ type }) => type.type === 'pd-profile-handler')
  const { threshold, deciderPluginName: name } = handler?.parameters ?? {}
  if (handler === undefined || typeof threshold !== 'number' || typeof name !== 'string') return
  // A decider that is declared counts.
  if (plugins.declares(name)) return
  const type = pluginType(threshold === 0 ? 'always-disagg-pd-decider' : 'prefix-based-pd-decider')!
  const parameters = type.parameters.parse(threshold === 0 ? {} : { nonCachedTokens: threshold })
  plugins.add({ name, index: handler.index, type, parameters: parameters as Readonly<Record<string, unknown>> })
}

/** Parameters of the producer that is not declared: those that prefix-cache-scorer had. */
export function formerPrefixCache(plugins: PickerPlugins): Readonly<Record<string, unknown>> {
  for (const { type, parameters } of plugins.all()) {
    if (type.type !== 'prefix-cache-scorer') continue
    if ((parameters['prefixMatchInfoProducerName'] ?? PREFIX_PRODUCER) !== PREFIX_PRODUCER) continue
    const given = FORMER_PREFIX_CACHE.filter(name => parameters[name] !== undefined)
    if (given.length === 0) continue
    const {
      hashBlockSize,
      blockSize = hashBlockSize,
      ...rest
    } = Object.fromEntries(given.map(name => [name, parameters[name]]))
    const characters = Number(blockSize ?? 0)
    return characters === 0 ? rest : { blockSizeTokens: Math.ceil(characters / BYTES_PER_TOKEN), ...rest }
  }
  return {}
}
