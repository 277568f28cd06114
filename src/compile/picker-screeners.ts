import type { SchedulingPlan } from '../inference/pool-plan.ts'
import {
  ROLLOUT_SCREENER,
  rolloutScreenerParameters,
} from '../inference/scheduling/plugins/disaggregatedset-rollout-screener.ts'
import type { PickerPlugins } from './picker-plugins.ts'

/** Screeners need no reference: those that are declared run. Responses tell the labels that requests may select. */
export function readScreeners(plugins: PickerPlugins): Pick<SchedulingPlan, 'screeners' | 'labelHeaders'> {
  const all = plugins.all().filter(({ type }) => type.role === 'screener')
  if (all.length === 0) return {}
  const headers = new Map<string, string>()
  for (const { type, index, parameters } of all) {
    if (type.type !== ROLLOUT_SCREENER) continue
    for (const [place, each] of rolloutScreenerParameters.parse(parameters).headerSelectors.entries()) {
      const before = headers.get(each.headerName)
      if (before !== undefined && before !== each.labelKey) {
        const path = ['plugins', index, 'parameters', 'headerSelectors', place, 'headerName']
        plugins.error('invalid-value', path, `another screener has it for the label "${before}"`)
      }
      headers.set(each.headerName, each.labelKey)
    }
  }
  return {
    screeners: all.map(({ type, parameters }) => ({ type: type.type, parameters })),
    ...(headers.size === 0 ? {} : { labelHeaders: Array.from(headers, ([header, label]) => ({ header, label })) }),
  }
}

/** Users' own hooks: those that are declared are told. */
export function readHooks(plugins: PickerPlugins): Pick<SchedulingPlan, 'hooks'> {
  const hooks = plugins.all().filter(({ type }) => type.role === 'request-hook')
  return hooks.length === 0 ? {} : { hooks: hooks.map(({ type, parameters }) => ({ type: type.type, parameters })) }
}
