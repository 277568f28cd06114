import type {
  NamedPluginPlan,
  PluginPlan,
  PrefixCachePlan,
  ProfilePlan,
  SchedulingPlan,
} from '../inference/pool-plan.ts'
import type { Need } from '../inference/scheduling/plugins/plugin-type.ts'
import { PREDICTOR_WITHOUT_EFFECT } from '../inference/scheduling/plugins/predicted-latency-producer.ts'
import { OWN_PLUGINS } from '../inference/scheduling/plugins/own-plugins.ts'
import { needsOf, pluginType } from '../inference/scheduling/plugins/registry.ts'
import { sessionParameters } from '../inference/scheduling/plugins/session-affinity.ts'
import { type ApproxPrefixCache, approxPrefixCacheParameters } from '../inference/scheduling/plugins/settings.ts'
import { BYTES_PER_TOKEN, LEAST_BLOCK_TOKENS } from './block-tokens.ts'
import { formerPrefixCache } from './picker-former.ts'
import { BURST_PRODUCER } from './picker-bursts.ts'
import { PRECISE_PRODUCER } from './picker-kv-events.ts'
import type { PickerPlugins, Plugin } from './picker-plugins.ts'
import { isAgentIdentity } from './picker-sessions.ts'

const PREFIX_PRODUCER = 'approx-prefix-cache-producer'
const SESSION_PRODUCER = 'session-id-producer'
const LATENCY_PRODUCER = 'predicted-latency-producer'
const TOPOLOGY_EXTRACTOR = 'topology-extractor'

/** Who provides what, where nobody is declared (epp.md §2.1). What is not here every pool has, or cannot be made without being told how. */
const PROVIDERS: Readonly<Partial<Record<Need, string>>> = {
  'in-flight-tokens': 'inflight-load-producer',
  latency: 'predicted-latency-producer',
  media: 'mm-embeddings-cache-producer',
}

const OUTSIDE_OF_PROFILES: ReadonlySet<string> = new Set(['concurrency-detector', 'latency-slo-admitter'])

/** Types of which there may be several. */
const SEVERAL: ReadonlySet<string> = new Set([PREFIX_PRODUCER, SESSION_PRODUCER, TOPOLOGY_EXTRACTOR])

/** `scheduling` with the data producers that its plug-ins need: those that are declared, and others as llm-d makes them. */
export function withProducers(plugins: PickerPlugins, scheduling: Partial<SchedulingPlan>): Partial<SchedulingPlan> {
  checkNumbers(plugins)
  for (const plugin of plugins.all()) {
    // Declared or not: ./picker-kv-events.ts.
    if (plugin.parameters['prefixMatchInfoProducerName'] !== PRECISE_PRODUCER)
      plugins.checkProducer(plugin, 'prefixMatchInfoProducerName', [PREFIX_PRODUCER, PRECISE_PRODUCER, BURST_PRODUCER])
    plugins.checkProducer(plugin, 'inFlightLoadProducerName', ['inflight-load-producer'])
    plugins.checkProducer(plugin, 'topologyProducerName', [TOPOLOGY_EXTRACTOR])
    plugins.checkProducer(plugin, 'latencyPredictionInfoProducerName', [LATENCY_PRODUCER])
    checkAttribute(plugin, plugins)
    checkSessions(plugin, plugins)
    warnWithoutEffect(plugin, plugins)
  }
  const producers = producersOf(plugins, scheduling)
  return {
    ...placed(plugins, scheduling),
    ...(producers.length === 0 ? {} : { producers }),
    ...readPrefixCaches(plugins),
  }
}

/** Attributes come from extractors of the data layer; one that has another name than its type must be declared. */
function checkAttribute(plugin: Plugin, plugins: PickerPlugins): void {
  const own = plugins.get(String(plugin.parameters['producer']))
  if (plugin.type.type.startsWith('endpoint-attribute-') && (own === undefined || !('createSource' in own.type)))
    plugins.checkProducer(plugin, 'producer', ['core-metrics-extractor', 'dcgm-extractor'])
}

/** Sources of sessions that are no headers come from producers. */
function checkSessions({ type, index, parameters }: Plugin, plugins: PickerPlugins): void {
  if (!type.type.startsWith('session-affinity-')) return
  const { strategy, sources, sessionIdConfig } = sessionParameters.parse(parameters)
  if (strategy !== 'session_id') return
  const at = sessionIdConfig === undefined ? ['sources'] : ['sessionIdConfig', 'sources']
  if (sessionIdConfig?.evictionSweepSeconds !== undefined) {
    const path = ['plugins', index, 'parameters', 'sessionIdConfig', 'evictionSweepSeconds']
    plugins.warn('no-effect', path, 'has no effect: sessions age without being swept')
  }
  for (const [place, source] of (sessionIdConfig?.sources ?? sources).entries()) {
    const { attribute, producer = attribute } = source
    if (isAgentIdentity(source)) {
      // Where there is one, this source has become its headers.
      const path = ['plugins', index, 'parameters', ...at, place]
      plugins.warn('no-effect', path, 'has no effect: there is no plug-in agent-identity to tell the session')
      continue
    }
    if (producer === undefined || plugins.get(producer)?.type.type === SESSION_PRODUCER || plugins.failed('producer'))
      continue
    const path = ['plugins', index, 'parameters', ...at, place]
    plugins.error('unresolved-reference', path, `there is no ${SESSION_PRODUCER} "${producer}" to tell the session`)
  }
}

function warnWithoutEffect({ type, index, parameters }: Plugin, plugins: PickerPlugins): void {
  if (type.type !== LATENCY_PRODUCER) return
  for (const [name, why] of Object.entries(PREDICTOR_WITHOUT_EFFECT))
    if (parameters[name] !== undefined)
      plugins.warn('no-effect', ['plugins', index, 'parameters', name], `has no effect: ${why}`)
}

function checkNumbers(plugins: PickerPlugins): void {
  const first = new Map<string, Plugin>()
  for (const plugin of plugins.all()) {
    const { role, type } = plugin.type
    if (role !== 'producer' || SEVERAL.has(type) || OWN_PLUGINS.has(type)) continue
    const before = first.get(type)
    if (before === undefined) first.set(type, plugin)
    else
      plugins.error(
        'not-supported',
        ['plugins', plugin.index],
        `only one ${type} is supported yet; there is "${before.name}"`,
      )
  }
}

function producersOf(plugins: PickerPlugins, scheduling: Partial<SchedulingPlan>): NamedPluginPlan[] {
  const needs = allNeeds(plugins, scheduling)
  const declared = plugins.all().filter(({ type }) => type.role === 'producer' && 'produce' in type)
  const provided = new Set(Object.values(PROVIDERS))
  const producers: NamedPluginPlan[] = declared
    .filter(({ type }) => !provided.has(type.type) || [...needs].some(need => PROVIDERS[need] === type.type))
    .map(({ name, type, parameters }) => ({ name, type: type.type, parameters }))
  for (const need of needs) {
    const type = PROVIDERS[need]
    if (type === undefined || declared.some(plugin => plugin.type.type === type)) continue
    producers.push({ name: type, type, parameters: pluginType(type)!.parameters.parse({}) as PluginPlan['parameters'] })
  }
  return producers
}

/** What the plug-ins of all profiles look at, and those that do their work outside of profiles. */
function allNeeds(plugins: PickerPlugins, scheduling: Partial<SchedulingPlan>): ReadonlySet<Need> {
  const needs = new Set<Need>()
  for (const { type, parameters } of plugins.all())
    if (OUTSIDE_OF_PROFILES.has(type.type)) for (const need of needsOf({ type: type.type, parameters })) needs.add(need)
  for (const { filters = [], scorers = [] } of [scheduling, ...(scheduling.profiles ?? [])])
    for (const { type, parameters = {} } of [...filters, ...scorers])
      for (const need of needsOf({ type, parameters })) needs.add(need)
  return needs
}

/** Plug-ins that go by places are told the labels of their extractor. */
function placed(plugins: PickerPlugins, scheduling: Partial<SchedulingPlan>): Partial<SchedulingPlan> {
  const extractors = plugins.all().filter(({ type }) => type.type === TOPOLOGY_EXTRACTOR)
  if (extractors.length === 0) return scheduling
  const tell = <Plan extends { readonly type: string; readonly parameters?: PluginPlan['parameters'] }>(
    plan: Plan,
  ): Plan => {
    const { type, parameters = {} } = plan
    if (!type.startsWith('topology-affinity-') || parameters['labels'] !== undefined) return plan
    const name = parameters['topologyProducerName'] ?? TOPOLOGY_EXTRACTOR
    const extractor = extractors.find(each => each.name === name)
    return extractor === undefined ? plan : { ...plan, parameters: { ...parameters, labels: extractor.parameters } }
  }
  const told = <Plan extends Partial<ProfilePlan>>(profile: Plan): Plan => ({
    ...profile,
    ...(profile.filters === undefined ? {} : { filters: profile.filters.map(tell) }),
    ...(profile.scorers === undefined ? {} : { scorers: profile.scorers.map(tell) }),
  })
  return {
    ...told(scheduling),
    ...(scheduling.profiles === undefined ? {} : { profiles: scheduling.profiles.map(told) }),
  }
}

/** The pool's own prefix cache is the one that is called by its type; those with names of their own stand beside it. */
function readPrefixCaches(plugins: PickerPlugins): Partial<SchedulingPlan> {
  const declared = plugins.all().filter(({ type }) => type.type === PREFIX_PRODUCER)
  const own = approxPrefixCacheParameters.parse(
    declared.find(({ name }) => name === PREFIX_PRODUCER)?.parameters ?? formerPrefixCache(plugins),
  )
  const blockTokens = blockTokensOf(own)
  const prefixCaches: PrefixCachePlan[] = []
  for (const { name, index, parameters } of declared) {
    if (name === PREFIX_PRODUCER) continue
    const given = approxPrefixCacheParameters.parse(parameters)
    if (blockTokensOf(given) % blockTokens !== 0) {
      const path = ['plugins', index, 'parameters', 'blockSizeTokens']
      plugins.error('not-supported', path, `must be a multiple of ${blockTokens}, the block of ${PREFIX_PRODUCER}`)
      continue
    }
    const named = plugins.all().filter(each => each.parameters['prefixMatchInfoProducerName'] === name)
    if (named.length === 0)
      plugins.warn('unused', ['plugins', index], `no plug-in has prefixMatchInfoProducerName: ${name}`)
    const bytes = bytesOf(given)
    prefixCaches.push({
      name,
      stride: blockTokensOf(given) / blockTokens,
      blocksPerEndpoint: given.lruCapacityPerServer,
      ...(given.autoTune ? { autoTune: true } : {}),
      ...(bytes === undefined ? {} : { bytes }),
    })
  }
  const bytes = bytesOf(own)
  return {
    prefixBlockBytes: blockTokens * BYTES_PER_TOKEN,
    prefixBlocksPerEndpoint: own.lruCapacityPerServer,
    ...(own.autoTune ? { prefixAutoTune: true } : {}),
    ...(bytes === undefined ? {} : { prefixBytes: bytes }),
    ...(prefixCaches.length === 0 ? {} : { prefixCaches }),
  }
}

function blockTokensOf({ blockSizeTokens }: ApproxPrefixCache): number {
  return Math.max(LEAST_BLOCK_TOKENS, blockSizeTokens)
}

/** Bytes of a prompt that are looked at; undefined: as many as the configuration's limit says. */
function bytesOf(given: ApproxPrefixCache): number | undefined {
  const { maxPrefixTokensToMatch: tokens, maxPrefixBlocksToMatch: blocks } = given
  if (tokens !== undefined && tokens > 0) return tokens * BYTES_PER_TOKEN
  return blocks === undefined || blocks === 0 ? undefined : blocks * blockTokensOf(given) * BYTES_PER_TOKEN
}
