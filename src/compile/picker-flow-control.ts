import type { EndpointPickerConfig } from '../config/kinds/endpoint-picker-config.ts'
import { type BandSpec, flowControlSchema } from '../config/kinds/flow-control.ts'
import type { FieldPath } from '../config/problem.ts'
import { MAX_BANDS } from '../inference/flow-control/flow-memory.ts'
import type { AdmissionPlan, BandPlan, BandTemplate, FlowControlPlan } from '../inference/flow-control/flow-plan.ts'
import { SATURATION_DETECTORS } from '../inference/flow-control/saturation.ts'
import type { PluginPlan, SchedulingPlan } from '../inference/pool-plan.ts'
import { agentHeaders } from '../inference/scheduling/plugins/agent-identity.ts'
import type { PluginType } from '../inference/scheduling/plugins/plugin-type.ts'
import { pluginType } from '../inference/scheduling/plugins/registry.ts'
import type { PickerPlugins } from './picker-plugins.ts'

const DEFAULT_DETECTOR = 'utilization-detector'

/** Who is refused where there is no configuration at all. */
const DEFAULT_ADMISSION: AdmissionPlan = {
  saturation: { type: DEFAULT_DETECTOR, parameters: {} },
  admitters: [],
}

/**
 * Flow control where its gate is on, else admission; with llm-d's defaults (epp.md §2.1). The bands are those that are configured: a
 * pool's objectives may need more (`withPriorities`).
 */
export function readFlowControl(
  config: EndpointPickerConfig,
  plugins: PickerPlugins,
): Pick<SchedulingPlan, 'flowControl' | 'admission' | 'admitters' | 'agentHeaders'> {
  const reader = new Reader(plugins)
  if (config.flowControl?.enableEviction !== true) reader.warnOfEviction()
  const isOn = config.featureGates.includes('flowControl') || config.featureGates.includes('flowControl=true')
  const spec = config.flowControl
  const saturation = reader.detector(config)
  const always = { ...reader.informedAdmitters(), ...reader.agents() }
  if (!isOn) {
    if (spec !== undefined) {
      const message = 'without the feature gate flowControl only its saturationDetector has an effect'
      plugins.warn('no-effect', ['flowControl'], message)
    }
    return { admission: { saturation, admitters: reader.admitters() }, ...always }
  }
  const at = (...path: readonly (string | number)[]): FieldPath => ['flowControl', ...path]
  for (const { index, type } of plugins.all())
    if (type.role === 'admitter' && !('createAdmitter' in type))
      plugins.warn('no-effect', ['plugins', index], 'has no effect with flow control, which lets requests wait instead')
  const template = (band: BandSpec, path: FieldPath): BandTemplate => ({
    maxBytes: band.maxBytes,
    maxRequests: band.maxRequests,
    fairness: reader.policy(band.fairnessPolicyRef, 'fairness-policy', [...path, 'fairnessPolicyRef']),
    ordering: reader.policy(band.orderingPolicyRef, 'ordering-policy', [...path, 'orderingPolicyRef']),
  })
  const given = spec ?? flowControlSchema.parse({})
  const defaultBand = template(given.defaultPriorityBand, at('defaultPriorityBand'))
  // Beside them there is 0. What is too much has its error, and the plan must work all the same.
  const bands = given.priorityBands
    .map((band, index): BandPlan => ({ priority: band.priority, ...template(band, at('priorityBands', index)) }))
    .slice(0, MAX_BANDS - 1)
  if (given.priorityBands.length >= MAX_BANDS)
    plugins.error('invalid-value', at('priorityBands'), `at most ${MAX_BANDS - 1} bands are supported`)
  const flowControl: FlowControlPlan = {
    ...(given.maxBytes === undefined ? {} : { maxBytes: given.maxBytes }),
    ...(given.maxRequests === undefined ? {} : { maxRequests: given.maxRequests }),
    requestTtlMs: given.defaultRequestTTL,
    noEndpointTtlMs: given.noEndpointRequestTTL ?? given.defaultRequestTTL,
    bands,
    defaultBand,
    defaultNegativeBand:
      given.defaultNegativePriorityBand === undefined
        ? defaultBand
        : template(given.defaultNegativePriorityBand, at('defaultNegativePriorityBand')),
    usageLimit: reader.policy(given.usageLimitPolicyPluginRef, 'usage-limit-policy', at('usageLimitPolicyPluginRef')),
    saturation,
    ...(given.enableEviction ? { evicts: true as const } : {}),
  }
  return { flowControl: withPriorities(flowControl, []), ...always }
}

/** With a band for each of these priorities and for 0, highest first. */
function withPriorities(plan: FlowControlPlan, priorities: Iterable<number>): FlowControlPlan {
  const bands = new Map(plan.bands.map(band => [band.priority, band]))
  for (const priority of [0, ...priorities])
    if (!bands.has(priority))
      bands.set(priority, { priority, ...(priority < 0 ? plan.defaultNegativeBand : plan.defaultBand) })
  return { ...plan, bands: [...bands.values()].sort((a, b) => b.priority - a.priority) }
}

/** As it is for a pool whose InferenceObjectives give these priorities: where none is below 0, nobody is ever refused. */
export function schedulingFor(scheduling: SchedulingPlan, priorities: readonly number[]): SchedulingPlan {
  const { flowControl, admission = DEFAULT_ADMISSION, ...rest } = scheduling
  if (flowControl !== undefined) return { ...rest, flowControl: withPriorities(flowControl, priorities) }
  return priorities.some(priority => priority < 0) ? { ...rest, admission } : rest
}

class Reader {
  readonly #plugins: PickerPlugins

  constructor(plugins: PickerPlugins) {
    this.#plugins = plugins
  }

  /** A policy that is named by its type need not be declared. */
  policy(name: string, role: PluginType['role'], path: FieldPath): PluginPlan {
    const undeclared = this.#plugins.declares(name) ? undefined : pluginType(name)
    if (undeclared?.role === role) {
      const parameters = undeclared.parameters.safeParse({})
      if (parameters.success) return { type: name, parameters: parameters.data as Record<string, unknown> }
      this.#plugins.error('unresolved-reference', path, `"${name}" needs parameters: declare it among the plugins`)
      return { type: name, parameters: {} }
    }
    const plugin = this.#plugins.refer(name, path)
    if (plugin === undefined) return { type: name, parameters: {} }
    if (plugin.type.role !== role)
      this.#plugins.error('invalid-value', path, `"${name}" is a ${plugin.type.role}, and no ${role}`)
    return { type: plugin.type.type, parameters: plugin.parameters }
  }

  detector(config: EndpointPickerConfig): PluginPlan {
    const nested = config.flowControl?.saturationDetector?.pluginRef
    const old = config.saturationDetector?.pluginRef
    if (old !== undefined)
      this.#plugins.warn('deprecated', ['saturationDetector'], 'say flowControl.saturationDetector')
    const name = nested ?? old ?? DEFAULT_DETECTOR
    const path =
      nested === undefined ? ['saturationDetector', 'pluginRef'] : ['flowControl', 'saturationDetector', 'pluginRef']
    if (SATURATION_DETECTORS.includes(name) && !this.#plugins.declares(name))
      return { type: name, parameters: pluginType(name)!.parameters.parse({}) as Record<string, unknown> }
    if (!this.#plugins.declares(name) && pluginType(name)?.role === 'saturation-detector')
      return this.policy(name, 'saturation-detector', path)
    const plugin = this.#plugins.refer(name, path)
    if (plugin === undefined) return DEFAULT_ADMISSION.saturation
    if (SATURATION_DETECTORS.includes(plugin.type.type) || plugin.type.role === 'saturation-detector')
      return { type: plugin.type.type, parameters: plugin.parameters }
    const message = `"${name}" is no saturation detector; there are ${SATURATION_DETECTORS.join(', ')}`
    this.#plugins.error('invalid-value', path, message)
    return DEFAULT_ADMISSION.saturation
  }

  /** The first that is declared. */
  agents(): Pick<SchedulingPlan, 'agentHeaders'> {
    const agents = this.#plugins.all().find(({ type }) => type.type === 'agent-identity')
    return agents === undefined ? {} : { agentHeaders: agentHeaders(agents.parameters) }
  }

  admitters(): PluginPlan[] {
    return this.#plugins
      .all()
      .filter(({ type }) => type.role === 'admitter' && !('createAdmitter' in type))
      .map(({ type, parameters }) => ({ type: type.type, parameters }))
  }

  warnOfEviction(): void {
    for (const { index, type } of this.#plugins.all())
      if (type.role === 'eviction-filter' || type.role === 'eviction-order-policy')
        this.#plugins.warn('no-effect', ['plugins', index], 'has no effect without flowControl.enableEviction')
  }

  /** Those that look at candidates: they do so with flow control and without. */
  informedAdmitters(): Pick<SchedulingPlan, 'admitters'> {
    const all = this.#plugins.all().filter(({ type }) => 'createAdmitter' in type)
    return all.length === 0 ? {} : { admitters: all.map(({ type, parameters }) => ({ type: type.type, parameters })) }
  }
}
