import type { z } from 'zod'
import { parseDuration } from '../config/duration.ts'
import type { EndpointPickerConfig } from '../config/kinds/endpoint-picker-config.ts'
import type { FieldPath, Problem } from '../config/problem.ts'
import { ATTRIBUTES_PER_ENDPOINT } from '../inference/endpoint-table.ts'
import { ENGINE_LABELS, ENGINES } from '../inference/engines.ts'
import { parseMetricSpec } from '../inference/metric-spec.ts'
import type {
  EnginePlan,
  EnginesPlan,
  ExporterPlan,
  MetricSpec,
  ScrapePlan,
  ScrapeTlsPlan,
} from '../inference/pool-plan.ts'
import {
  coreMetricsParameters,
  dcgmSourceParameters,
  metricsSourceParameters,
  modelsSourceParameters,
} from '../inference/scheduling/plugins/data-layer.ts'
import { ownExporter } from './picker-own-sources.ts'
import { PickerPlugins, type Plugin } from './picker-plugins.ts'

/** What llm-d's exporter attribute is called there. */
const GPU_UTILIZATION = 'GPUUtilization'
const EXPORTER_INTERVAL_MS = 1000
/** Source → what may take something from it. */
const EXTRACTORS: Readonly<Record<string, string>> = {
  'metrics-data-source': 'core-metrics-extractor',
  'models-data-source': 'models-data-extractor',
  'dcgm-data-source': 'dcgm-extractor',
}
const METRICS = 'metrics-data-source'
const ENDPOINT_EVENTS = 'endpoint-notification-source'
/** llm-d's plug-ins that want to hear of endpoints that come and go; ours are told without being named. */
const TOLD_ANYWAY: ReadonlySet<string> = new Set([
  'inflight-load-producer',
  'mm-embeddings-cache-producer',
  'precise-prefix-cache-producer',
  'precise-prefix-cache-scorer',
  'topology-extractor',
])

/** How an EndpointPickerConfig has endpoints read, as far as it says so. All that is wrong with it goes to `problems`. */
export function readDataLayer(config: EndpointPickerConfig, problems: Problem[]): Partial<ScrapePlan> {
  // What is wrong with the plug-ins themselves is told where all of them are read.
  const told: Problem[] = []
  const plugins = new PickerPlugins(config, told)
  const before = told.length
  const plan = new Reader(config, plugins).read()
  problems.push(...told.slice(before))
  return plan
}

class Reader {
  readonly #config: EndpointPickerConfig
  readonly #plugins: PickerPlugins

  constructor(config: EndpointPickerConfig, plugins: PickerPlugins) {
    this.#config = config
    this.#plugins = plugins
  }

  read(): Partial<ScrapePlan> {
    this.#readDiscovery()
    const referenced = this.#readSources()
    const defaults = this.#config.dataLayer?.injectDefaults ?? true
    const metrics = this.#pick(METRICS, referenced, defaults)
    if (!defaults && metrics === undefined) {
      if (referenced.size > 0) {
        const message = `models and exporters are read beside metrics only: refer to a ${METRICS} too`
        this.#plugins.error('not-supported', ['dataLayer', 'sources'], message)
      }
      return { off: true }
    }
    const extractor = this.#pick('core-metrics-extractor', referenced, defaults)
    const models = this.#pick('models-data-source', referenced, false)
    const dcgm = this.#pick('dcgm-data-source', referenced, false)
    const exporters = [...(dcgm === undefined ? [] : [gpuExporter(dcgm)]), ...this.#own(referenced)]
    const engines = extractor === undefined ? undefined : this.#engines(extractor)
    const custom = (engines?.engines ?? []).flatMap(engine => engine.custom ?? [])
    const attributes = [
      ...new Set([...custom, ...exporters.flatMap(exporter => exporter.metrics)].map(({ attribute }) => attribute)),
    ]
    if (attributes.length > ATTRIBUTES_PER_ENDPOINT) {
      const message = `has ${attributes.length} different attributes with all others; at most ${ATTRIBUTES_PER_ENDPOINT} are supported`
      this.#plugins.error('not-supported', ['plugins', extractor?.index ?? 0], message)
    }
    return {
      ...(metrics === undefined ? {} : metricsPlan(metrics)),
      ...(engines === undefined ? {} : { engines }),
      ...(models === undefined ? {} : { models: modelsPlan(models) }),
      ...(exporters.length === 0 ? {} : { exporters }),
      ...(attributes.length === 0 ? {} : { attributes: attributes.slice(0, ATTRIBUTES_PER_ENDPOINT) }),
    }
  }

  /** Where endpoints come from (./discovered-endpoints.ts). */
  #readDiscovery(): void {
    const name = this.#config.dataLayer?.discovery?.pluginRef
    const path: FieldPath = ['dataLayer', 'discovery', 'pluginRef']
    const plugin = name === undefined ? undefined : this.#plugins.refer(name, path)
    const role = plugin?.type.role
    if (role !== undefined && role !== 'discovery')
      this.#plugins.error('invalid-value', path, `"${name}" is a ${role}, and tells no endpoints`)
    for (const { type, index, name: other } of this.#plugins.all())
      if (type.role === 'discovery' && other !== name)
        this.#plugins.warn('unused', ['plugins', index], `dataLayer.discovery does not refer to "${other}"`)
  }

  /** Names of the plug-ins that `dataLayer.sources` refers to. */
  #readSources(): Set<string> {
    const used = new Set<string>()
    const seen = new Set<string>()
    for (const [index, { pluginRef, extractors }] of (this.#config.dataLayer?.sources ?? []).entries()) {
      const path: FieldPath = ['dataLayer', 'sources', index]
      const source = this.#plugins.resolve(pluginRef, [...path, 'pluginRef'], seen)
      if (source === undefined) continue
      const type = source.type.type
      if (source.type.role !== 'data-source') {
        this.#plugins.error(
          'invalid-value',
          [...path, 'pluginRef'],
          `"${pluginRef}" is a ${source.type.role}, and no data source`,
        )
        continue
      }
      used.add(pluginRef)
      const fitting = EXTRACTORS[type]
      if (fitting === undefined && !('createSource' in source.type))
        this.#plugins.warn(
          'no-effect',
          [...path, 'pluginRef'],
          `has no effect: Signalbox follows the endpoints by itself`,
        )
      const here = new Set<string>()
      for (const [place, { pluginRef: name }] of extractors.entries()) {
        const at = [...path, 'extractors', place, 'pluginRef']
        const extractor = this.#plugins.resolve(name, at, here)
        if (extractor === undefined) continue
        if (extractor.type.type === fitting) used.add(name)
        else if (type === ENDPOINT_EVENTS && TOLD_ANYWAY.has(extractor.type.type))
          this.#plugins.warn('no-effect', at, `has no effect: "${name}" is told of endpoints that come and go anyway`)
        else {
          const expected = fitting === undefined ? 'nothing' : `a ${fitting}`
          this.#plugins.error('invalid-value', at, `"${name}" is a ${extractor.type.type}; ${type} takes ${expected}`)
        }
      }
    }
    return used
  }

  /** Users' own sources that are referred to. */
  #own(referenced: ReadonlySet<string>): ExporterPlan[] {
    return this.#plugins.all().flatMap(plugin => {
      if (!('createSource' in plugin.type)) return []
      const { name, index } = plugin
      if (referenced.has(name)) return ownExporter(plugin, plugin.type, this.#plugins) ?? []
      this.#plugins.warn('unused', ['plugins', index], `dataLayer.sources does not refer to the data source "${name}"`)
      return []
    })
  }

  /** The plug-in of a type that counts: the one that is referred to, else, where `declared` says so, the declared one. */
  #pick(type: string, referenced: ReadonlySet<string>, declared: boolean): Plugin | undefined {
    const all = this.#plugins.all().filter(plugin => plugin.type.type === type)
    const [first, second] = all.filter(({ name }) => referenced.has(name))
    if (second !== undefined)
      this.#plugins.error(
        'not-supported',
        ['plugins', second.index],
        `only one ${type} can be used; there is "${first!.name}"`,
      )
    if (first !== undefined) return first
    const [one, another] = all
    if (one === undefined) return undefined
    if (!declared) {
      this.#plugins.warn(
        'unused',
        ['plugins', one.index],
        `dataLayer.sources does not refer to the ${type} "${one.name}"`,
      )
      return undefined
    }
    if (another !== undefined)
      this.#plugins.error(
        'not-supported',
        ['plugins', another.index],
        `which ${type} is meant? Refer to one in dataLayer.sources`,
      )
    return one
  }

  #engines({ index, parameters }: Plugin): EnginesPlan {
    const { engineLabelKey, defaultEngine, engineConfigs } = coreMetricsParameters.parse(parameters)
    const own = engineConfigs.map(enginePlan)
    const engines = [...own, ...ENGINES.filter(({ name }) => !own.some(engine => engine.name === name))]
    if (!engines.some(({ name }) => name === defaultEngine)) {
      const message = `there is no engine "${defaultEngine}"; there are ${engines.map(({ name }) => name).join(', ')}`
      this.#plugins.error('unresolved-reference', ['plugins', index, 'parameters', 'defaultEngine'], message)
      return { labelKeys: [], default: engines[0]!.name, engines }
    }
    return {
      labelKeys: engineLabelKey === undefined ? ENGINE_LABELS : [engineLabelKey],
      default: defaultEngine,
      engines,
    }
  }
}

type SpecifiedSignal = 'waiting' | 'running' | 'kvUsage' | 'lora' | 'cacheInfo' | 'blockSize' | 'blockCount'

function enginePlan(config: z.output<typeof coreMetricsParameters>['engineConfigs'][number]): EnginePlan {
  const specs: Partial<Record<SpecifiedSignal, MetricSpec>> = {}
  const add = (signal: SpecifiedSignal, text: string) => {
    const spec = parseMetricSpec(text)
    if (spec !== undefined) specs[signal] = spec
  }
  add('waiting', config.queuedRequestsSpec)
  add('running', config.runningRequestsSpec)
  add('kvUsage', config.kvUsageSpec)
  add('lora', config.loraSpec)
  add('cacheInfo', config.cacheInfoSpec)
  add('blockSize', config.cacheBlockSizeSpec)
  add('blockCount', config.cacheNumBlocksSpec)
  const { cacheBlockSizeLabelName, cacheNumBlocksLabelName, customMetrics } = config
  return {
    ...specs,
    name: config.name,
    ...(cacheBlockSizeLabelName === '' ? {} : { blockSizeLabel: cacheBlockSizeLabelName }),
    ...(cacheNumBlocksLabelName === '' ? {} : { blockCountLabel: cacheNumBlocksLabelName }),
    custom: customMetrics.map(({ attributeKey, metricSpec }) => ({
      attribute: attributeKey,
      spec: parseMetricSpec(metricSpec)!,
    })),
  }
}

function metricsPlan({ parameters }: Plugin): Partial<ScrapePlan> {
  return pagePlan(metricsSourceParameters.parse(parameters))
}

function modelsPlan({ parameters }: Plugin): Exclude<ScrapePlan['models'], false | undefined> {
  return pagePlan(modelsSourceParameters.parse(parameters))
}

/** Where a page is, and how often it is read. */
function pagePlan(given: z.output<typeof metricsSourceParameters>) {
  const { scheme, path, port, interval } = given
  return {
    scheme,
    path,
    tls: tlsPlan(given),
    ...(port === undefined ? {} : { port }),
    ...(interval === undefined ? {} : { intervalMs: parseDuration(interval)! }),
  }
}

function gpuExporter({ parameters }: Plugin): ExporterPlan {
  const given = dcgmSourceParameters.parse(parameters)
  const { scheme, path, port, interval } = given
  const spec = { name: 'DCGM_FI_DEV_GPU_UTIL', labels: {} }
  return {
    scheme,
    path,
    port,
    tls: tlsPlan(given),
    intervalMs: interval === undefined ? EXPORTER_INTERVAL_MS : parseDuration(interval)!,
    // The busiest GPU counts.
    metrics: [{ attribute: GPU_UTILIZATION, spec, scale: 0.01, of: 'max' }],
  }
}

function tlsPlan(given: z.output<typeof metricsSourceParameters>): ScrapeTlsPlan {
  const { insecureSkipVerify, caCertPath, clientCertPath, clientKeyPath } = given
  return {
    // Whoever names an authority wants it to be asked.
    insecureSkipVerify: caCertPath === undefined && insecureSkipVerify,
    ...(caCertPath === undefined ? {} : { caCertPath }),
    ...(clientCertPath === undefined ? {} : { certPath: clientCertPath }),
    ...(clientKeyPath === undefined ? {} : { keyPath: clientKeyPath }),
  }
}
