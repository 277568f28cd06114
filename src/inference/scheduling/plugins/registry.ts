/**
 * The plug-in types of an EndpointPickerConfig that work here, by name, with llm-d's names, parameters and formulas (epp.md §3). Workers link
 * the plan's plug-ins by it, and the compiler checks configurations against it.
 */
import { FLOW_PLUGINS } from '../../flow-control/flow-plugins.ts'
import type { NamedPluginPlan, PluginPlan } from '../../pool-plan.ts'
import type { Admitter } from '../admitter.ts'
import type { Filter } from '../filter.ts'
import type { Picker } from '../picker.ts'
import type { HandlerParts, ProfileHandler, StageDecider } from '../profile-handler.ts'
import type { Producer } from '../producer.ts'
import type { RequestHook } from '../request-hook.ts'
import type { Scorer } from '../scorer.ts'
import type { Screener } from '../screener.ts'
import { activeRequestScorer } from './active-request-scorer.ts'
import { agentIdentity } from './agent-identity.ts'
import { concurrencyDetector } from './concurrency-detector.ts'
import { dataParallelProfileHandler } from './data-parallel-profile-handler.ts'
import { disaggHeadersHandler } from './disagg-headers-handler.ts'
import { disaggProfileHandler } from './disagg-profile-handler.ts'
import { disaggregatedsetRolloutScreener } from './disaggregatedset-rollout-screener.ts'
import { destinationEndpointServedVerifier } from './destination-endpoint-served-verifier.ts'
import { contextLengthAware } from './context-length-aware.ts'
import { endpointAttributeFilter } from './endpoint-attribute-filter.ts'
import { endpointAttributeScorer } from './endpoint-attribute-scorer.ts'
import { expectedTtftScorer } from './expected-ttft-scorer.ts'
import { headerBasedTestingFilter } from './header-based-testing-filter.ts'
import { headerLabelAffinityScorer } from './header-label-affinity-scorer.ts'
import { headerProfileHandler } from './header-profile-handler.ts'
import { inflightLoadProducer } from './inflight-load-producer.ts'
import { kvCacheUtilizationScorer } from './kv-cache-utilization-scorer.ts'
import { labelSelectorFilter } from './label-selector-filter.ts'
import { latencyScorer } from './latency-scorer.ts'
import { latencySloAdmitter } from './latency-slo-admitter.ts'
import { loadAwareScorer } from './load-aware-scorer.ts'
import { loraAffinityScorer } from './lora-affinity-scorer.ts'
import { mmEmbeddingsCacheProducer, mmEmbeddingsCacheScorer } from './mm-embeddings-cache.ts'
import { noHitLruScorer } from './no-hit-lru-scorer.ts'
import { DATA_LAYER } from './data-layer.ts'
import { PARSERS } from './parsers.ts'
import { pdProfileHandler } from './pd-profile-handler.ts'
import { maxScorePicker, randomPicker, weightedRandomPicker } from './pickers.ts'
import { OWN_PLUGINS } from './own-plugins.ts'
import type { Need, PluginType } from './plugin-type.ts'
import { precisePrefixCacheProducer, precisePrefixCacheScorer } from './precise-prefix-cache.ts'
import { predictedLatencyProducer } from './predicted-latency-producer.ts'
import { p2pSourceProducer } from './p2p-source-producer.ts'
import { prefixCacheAffinityFilter } from './prefix-cache-affinity-filter.ts'
import { prefixCacheScorer } from './prefix-cache-scorer.ts'
import { queueScorer } from './queue-scorer.ts'
import { decodeFilter, encodeFilter, prefillFilter } from './role-filters.ts'
import { requestAttributeReporter } from './request-attribute-reporter.ts'
import { runningRequestsSizeScorer } from './running-requests-size-scorer.ts'
import { sessionAffinityFilter } from './session-affinity-filter.ts'
import { sessionAffinityScorer } from './session-affinity-scorer.ts'
import { burstPrefixCacheProducer } from './burst-prefix-cache-producer.ts'
import { approxPrefixCacheProducer } from './settings.ts'
import { tokenProducer } from './token-producer.ts'
import { singleProfileHandler } from './single-profile-handler.ts'
import { alwaysDisaggMultimodalDecider, alwaysDisaggPdDecider, prefixBasedPdDecider } from './stage-deciders.ts'
import { sessionIdProducer } from './session-id-producer.ts'
import { sloHeadroomTierFilter } from './slo-headroom-tier-filter.ts'
import { tokenLoadScorer } from './token-load-scorer.ts'
import { topologyAffinityFilter, topologyAffinityScorer, topologyExtractor } from './topology.ts'
import { utilizationDetector } from './utilization-detector.ts'
import { utilizationFilter } from './utilization-filter.ts'

const PLUGINS = new Map<string, PluginType>(
  [
    concurrencyDetector,
    decodeFilter,
    encodeFilter,
    endpointAttributeFilter,
    headerBasedTestingFilter,
    labelSelectorFilter,
    prefillFilter,
    prefixCacheAffinityFilter,
    sessionAffinityFilter,
    sloHeadroomTierFilter,
    topologyAffinityFilter,
    utilizationDetector,
    utilizationFilter,
    activeRequestScorer,
    contextLengthAware,
    endpointAttributeScorer,
    expectedTtftScorer,
    headerLabelAffinityScorer,
    kvCacheUtilizationScorer,
    latencyScorer,
    loadAwareScorer,
    loraAffinityScorer,
    mmEmbeddingsCacheScorer,
    noHitLruScorer,
    precisePrefixCacheScorer,
    prefixCacheScorer,
    queueScorer,
    runningRequestsSizeScorer,
    sessionAffinityScorer,
    tokenLoadScorer,
    topologyAffinityScorer,
    maxScorePicker,
    randomPicker,
    weightedRandomPicker,
    dataParallelProfileHandler,
    disaggProfileHandler,
    disaggregatedsetRolloutScreener,
    headerProfileHandler,
    pdProfileHandler,
    singleProfileHandler,
    alwaysDisaggMultimodalDecider,
    alwaysDisaggPdDecider,
    prefixBasedPdDecider,
    agentIdentity,
    disaggHeadersHandler,
    approxPrefixCacheProducer,
    burstPrefixCacheProducer,
    destinationEndpointServedVerifier,
    requestAttributeReporter,
    inflightLoadProducer,
    latencySloAdmitter,
    mmEmbeddingsCacheProducer,
    p2pSourceProducer,
    predictedLatencyProducer,
    precisePrefixCacheProducer,
    tokenProducer,
    ...PARSERS,
    ...DATA_LAYER,
    ...FLOW_PLUGINS,
    sessionIdProducer,
    topologyExtractor,
  ].map((plugin: PluginType) => [plugin.type, plugin]),
)

/** In no order. */
export function pluginTypes(): readonly string[] {
  return [...PLUGINS.keys()]
}

/** Adds a user's own. False: there is one of this name already. */
export function registerPlugin(plugin: PluginType): boolean {
  if (PLUGINS.has(plugin.type)) return false
  PLUGINS.set(plugin.type, plugin)
  OWN_PLUGINS.set(plugin.type, plugin)
  return true
}

export class UnknownPluginError extends Error {
  readonly code = 'unknown-plugin'
  constructor(type: string, role: string) {
    super(
      `no ${role} "${type}"; there are ${pluginTypes()
        .filter(each => PLUGINS.get(each)!.role === role)
        .join(', ')}`,
    )
    this.name = 'UnknownPluginError'
  }
}

export function pluginType(type: string): PluginType | undefined {
  return PLUGINS.get(type)
}

/** What a plug-in with these parameters looks at besides loads. */
export function needsOf({ type, parameters }: PluginPlan): readonly Need[] {
  const plugin = PLUGINS.get(type)
  return plugin !== undefined && 'needs' in plugin ? (plugin.needs?.(parameters) ?? []) : []
}

/** @throws UnknownPluginError, ZodError */
export function createFilter({ type, parameters }: PluginPlan): Filter {
  const plugin = PLUGINS.get(type)
  if (plugin !== undefined && 'createFilter' in plugin) return plugin.createFilter(parameters)
  if (plugin?.role !== 'filter') throw new UnknownPluginError(type, 'filter')
  return plugin.create(parameters)
}

/** @throws UnknownPluginError, ZodError */
export function createPluginScorer({ type, parameters }: PluginPlan): Scorer {
  const plugin = PLUGINS.get(type)
  if (plugin?.role !== 'scorer') throw new UnknownPluginError(type, 'scorer')
  return plugin.create(parameters)
}

/** Undefined: one that only configures what every pool has. @throws UnknownPluginError, ZodError */
export function createProducer({ name, type, parameters }: NamedPluginPlan): Producer | undefined {
  const plugin = PLUGINS.get(type)
  if (plugin?.role !== 'producer') throw new UnknownPluginError(type, 'producer')
  return 'produce' in plugin ? plugin.produce(name, parameters) : undefined
}

/** @throws UnknownPluginError, ZodError */
export function createAdmitter({ type, parameters }: PluginPlan): Admitter {
  const plugin = PLUGINS.get(type)
  if (plugin === undefined || !('createAdmitter' in plugin)) throw new UnknownPluginError(type, 'admitter')
  return plugin.createAdmitter(parameters)
}

/** @throws UnknownPluginError, ZodError */
export function createScreener({ type, parameters }: PluginPlan): Screener {
  const plugin = PLUGINS.get(type)
  if (plugin?.role !== 'screener') throw new UnknownPluginError(type, 'screener')
  return plugin.createScreener(parameters)
}

/** @throws UnknownPluginError, ZodError */
export function createRequestHook({ type, parameters }: PluginPlan): Required<RequestHook> {
  const plugin = PLUGINS.get(type)
  if (plugin?.role !== 'request-hook') throw new UnknownPluginError(type, 'request-hook')
  return plugin.createHook(parameters)
}

/** @throws UnknownPluginError */
export function createPicker({ type }: PluginPlan): Picker {
  const plugin = PLUGINS.get(type)
  if (plugin?.role !== 'picker') throw new UnknownPluginError(type, 'picker')
  return plugin.pick
}

/** Undefined: the primary profile runs, and that is all. @throws UnknownPluginError, ZodError */
export function createProfileHandler(
  { type, parameters }: PluginPlan,
  parts: HandlerParts,
): ProfileHandler | undefined {
  const plugin = PLUGINS.get(type)
  if (plugin?.role !== 'profile-handler') throw new UnknownPluginError(type, 'profile-handler')
  return plugin.create(parameters, parts)
}

/** @throws UnknownPluginError, ZodError */
export function createDecider({ type, parameters }: PluginPlan): StageDecider {
  const plugin = PLUGINS.get(type)
  if (plugin?.role !== 'decider') throw new UnknownPluginError(type, 'decider')
  return plugin.create(parameters)
}
