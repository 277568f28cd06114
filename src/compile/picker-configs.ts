import type { EndpointPickerConfig } from '../config/kinds/endpoint-picker-config.ts'
import type { InferencePool } from '../config/kinds/inference-pool.ts'
import { problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import { didYouMean } from '../config/suggest.ts'
import type { SchedulingPlan, ScrapePlan } from '../inference/pool-plan.ts'
import { PICKER_CONFIG } from './annotations.ts'
import type { ObjectIndex } from './object-index.ts'
import { readPickerConfig } from './picker-config.ts'
import { readDataLayer } from './picker-data-layer.ts'
import { ALPHA_TYPES } from './picker-types.ts'

/** The EndpointPickerConfig of pools that name none: one without `metadata` is called so. */
const DEFAULT_CONFIG = 'default/default'

/** What an EndpointPickerConfig changes of a pool's scheduling: its own by annotation, else the default one, else nothing. */
export function pickerConfigOf(
  objects: ObjectIndex,
  pool: InferencePool,
  problems: Problem[],
): Partial<SchedulingPlan> | undefined {
  const config = configOf(objects, pool, problems)
  // `checkPickerConfigs` tells what is wrong with it, once for all pools.
  return config && readPickerConfig(config, [])
}

/** What it changes of how the pool's endpoints are read. */
export function dataLayerOf(objects: ObjectIndex, pool: InferencePool): Partial<ScrapePlan> {
  const config = configOf(objects, pool, [])
  return config === undefined ? {} : readDataLayer(config, [])
}

/** The EndpointPickerConfig of a pool: its own by annotation, else the default one. */
export function configOf(
  objects: ObjectIndex,
  pool: InferencePool,
  problems: Problem[],
): EndpointPickerConfig | undefined {
  const name = pool.metadata.annotations[PICKER_CONFIG]
  const { namespace } = pool.metadata
  const config = objects.get('EndpointPickerConfig', name === undefined ? DEFAULT_CONFIG : `${namespace}/${name}`)
  if (config === undefined && name !== undefined) {
    const message = `there is no EndpointPickerConfig ${namespace}/${name}${didYouMean(name, namesIn(objects, namespace))}`
    const path = ['metadata', 'annotations', PICKER_CONFIG]
    problems.push(problemAt(pool, 'error', 'unresolved-reference', path, message))
  }
  return config
}

/** All problems of all EndpointPickerConfigs, used or not. */
export function checkPickerConfigs(objects: ObjectIndex, problems: Problem[], stableOnly = false): void {
  for (const config of objects.all('EndpointPickerConfig')) {
    readPickerConfig(config, problems)
    readDataLayer(config, problems)
    if (stableOnly) checkStable(config, problems)
    if (isUsed(objects, config)) continue
    const message = `no InferencePool has the annotation ${PICKER_CONFIG}: ${config.metadata.name}`
    problems.push(problemAt(config, 'warning', 'unused', [], message))
  }
}

/** llm-d's plug-ins of stability Alpha are an operator's explicit choice. */
function checkStable(config: EndpointPickerConfig, problems: Problem[]): void {
  for (const [index, { type }] of config.plugins.entries()) {
    if (!ALPHA_TYPES.has(type)) continue
    const message = `plug-in type "${type}" is experimental: it needs --allow-experimental-plugins`
    problems.push(problemAt(config, 'error', 'experimental-plugin', ['plugins', index, 'type'], message))
  }
}

function isUsed(objects: ObjectIndex, { metadata: { name, namespace } }: EndpointPickerConfig): boolean {
  if (`${namespace}/${name}` === DEFAULT_CONFIG) return true
  return objects
    .all('InferencePool')
    .some(({ metadata }) => metadata.namespace === namespace && metadata.annotations[PICKER_CONFIG] === name)
}

function namesIn(objects: ObjectIndex, namespace: string): string[] {
  const configs = objects.all('EndpointPickerConfig').filter(({ metadata }) => metadata.namespace === namespace)
  return configs.map(({ metadata }) => metadata.name)
}
