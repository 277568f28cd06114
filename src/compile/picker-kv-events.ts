import type { KvEventsPlan, RenderPlan } from '../inference/kv-events/kv-events-plan.ts'
import type { SchedulingPlan } from '../inference/pool-plan.ts'
import { precisePrefixCacheParameters } from '../inference/scheduling/plugins/precise-prefix-cache.ts'
import { tokenProducerParameters } from '../inference/scheduling/plugins/token-producer.ts'
import type { PickerPlugins, Plugin } from './picker-plugins.ts'

export const PRECISE_PRODUCER = 'precise-prefix-cache-producer'
const PRECISE_SCORER = 'precise-prefix-cache-scorer'
const TOKEN_PRODUCER = 'token-producer'

/** Of all that is kept of engines' blocks, unless the configuration says otherwise. */
const MAX_BYTES = 256 * 1024 * 1024
/** llm-d waits 5 s; by then most gateways have given the request up. */
const RENDER_TIMEOUT_MS = 400
const MAX_RENDERS = 256

/** The precise prefix cache of an EndpointPickerConfig: declared, or made because a scorer names it. */
export function readKvEvents(plugins: PickerPlugins): Pick<SchedulingPlan, 'kvEvents'> {
  const all = plugins.all()
  const declared = all.filter(({ type }) => type.type === PRECISE_PRODUCER || type.type === PRECISE_SCORER)
  const [first, second] = declared
  if (second !== undefined) {
    const message = `only one precise prefix cache may be; there is "${first!.name}"`
    plugins.error('not-supported', ['plugins', second.index], message)
  }
  if (first !== undefined) warnWithoutEffect(first, plugins)
  const named = all.some(({ parameters }) => parameters['prefixMatchInfoProducerName'] === PRECISE_PRODUCER)
  if (first === undefined && !named) return {}
  const kvEvents = planOf(first, renderOf(plugins))
  // `estimate` was chosen, or nothing was: without tokens there is nothing to look up but for prompts that are tokens.
  if (kvEvents.render === undefined)
    plugins.warn(
      'no-tokens',
      first === undefined ? ['plugins'] : ['plugins', first.index],
      'without a token-producer of the backend "vllm" only prompts that come as token ids are matched; others are guessed',
    )
  return { kvEvents }
}

function planOf(plugin: Plugin | undefined, render: RenderPlan | undefined): KvEventsPlan {
  const given = precisePrefixCacheParameters.parse(plugin?.parameters ?? {})
  const { tokenProcessorConfig, indexerConfig, kvEventsConfig } = given
  const { inMemoryConfig, costAwareMemoryConfig } = indexerConfig.kvBlockIndexConfig
  const { podDiscoveryConfig } = kvEventsConfig
  const labels = podDiscoveryConfig.podLabelSelector
  return {
    // The scorer that is one with its producer has a name of its own, but asks by its type.
    producer: plugin?.type.role === 'scorer' ? plugin.type.type : (plugin?.name ?? PRECISE_PRODUCER),
    blockTokens: tokenProcessorConfig.blockSizeTokens,
    hashSeed: tokenProcessorConfig.hashSeed,
    tiers: indexerConfig.kvCacheBackendConfigs.toSorted((a, b) => b.weight - a.weight),
    maxBytes: costAwareMemoryConfig?.size ?? MAX_BYTES,
    maxKeys: inMemoryConfig?.size ?? Number.MAX_SAFE_INTEGER,
    topicFilter: kvEventsConfig.topicFilter,
    socketPort: podDiscoveryConfig.socketPort,
    replayPort: Math.max(0, podDiscoveryConfig.replaySocketPort),
    ...(labels.length === 0 ? {} : { labels }),
    speculativeTtlMs: given.speculativeIndexing ? given.speculativeTTL : 0,
    ...(render === undefined ? {} : { render }),
  }
}

/** A model's name alone means the backend `vllm` too. */
function renderOf(plugins: PickerPlugins): RenderPlan | undefined {
  const plugin = plugins.all().find(({ type }) => type.type === TOKEN_PRODUCER)
  if (plugin === undefined) return undefined
  const { backend, modelName, vllm, estimate } = tokenProducerParameters.parse(plugin.parameters)
  if (vllm?.mmTimeout !== undefined)
    plugins.warn(
      'no-effect',
      ['plugins', plugin.index, 'parameters', 'vllm', 'mmTimeout'],
      'has no effect: timeout holds for all',
    )
  const isEstimate = estimate !== undefined || modelName === undefined
  if ((backend ?? (isEstimate ? 'estimate' : 'vllm')) !== 'vllm') return undefined
  return {
    url: vllm?.url ?? 'http://localhost:8000',
    timeoutMs: vllm?.timeout ?? RENDER_TIMEOUT_MS,
    ...(modelName === undefined ? {} : { model: modelName }),
    maxConcurrent: MAX_RENDERS,
  }
}

/** Parameters that say how llm-d's own work is done. */
function warnWithoutEffect({ index, parameters }: Plugin, plugins: PickerPlugins): void {
  const given = precisePrefixCacheParameters.parse(parameters)
  const { inMemoryConfig, enableMetrics, metricsLoggingInterval } = given.indexerConfig.kvBlockIndexConfig
  const { podDiscoveryConfig, concurrency, engineType } = given.kvEventsConfig
  const blockIndex = ['indexerConfig', 'kvBlockIndexConfig']
  const discovery = ['kvEventsConfig', 'podDiscoveryConfig']
  const all: readonly (readonly [value: unknown, path: readonly string[], why: string])[] = [
    [
      given.tokenProcessorConfig.hashAlgorithm,
      ['tokenProcessorConfig', 'hashAlgorithm'],
      'the hash of blocks is our own',
    ],
    [
      inMemoryConfig?.podCacheSize,
      [...blockIndex, 'inMemoryConfig', 'podCacheSize'],
      'all holders of a block are known',
    ],
    [enableMetrics, [...blockIndex, 'enableMetrics'], 'there are always metrics'],
    [metricsLoggingInterval, [...blockIndex, 'metricsLoggingInterval'], 'metrics are not logged'],
    [concurrency, ['kvEventsConfig', 'concurrency'], 'one thread takes the events'],
    [engineType, ['kvEventsConfig', 'engineType'], "both engines' events are read"],
    [podDiscoveryConfig.podNamespace, [...discovery, 'podNamespace'], 'the endpoints are those of the pool'],
    [podDiscoveryConfig.dataParallelSize, [...discovery, 'dataParallelSize'], 'ranks are the ports of a host'],
  ]
  for (const [value, path, why] of all)
    if (value !== undefined)
      plugins.warn('no-effect', ['plugins', index, 'parameters', ...path], `has no effect: ${why}`)
}
