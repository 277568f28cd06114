import type { Plan } from '../../pipeline/plan.ts'
import type { PickerServing } from './picker-serving.ts'

/** Why a plan in force does not make an endpoint picker ready: none of the pools that it was told to serve is there. */
export function missingPools(plan: Plan, picker: PickerServing | undefined): string | undefined {
  if (picker === undefined || !('names' in picker.pools) || (plan.gatewayPools ?? []).length > 0) return undefined
  return `there is no InferencePool ${picker.pools.names.join(', ')}`
}
