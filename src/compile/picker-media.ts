import type { SchedulingPlan } from '../inference/pool-plan.ts'
import { mediaTokensPlan } from '../inference/scheduling/plugins/media-estimate.ts'
import { estimateOf, tokenProducerParameters } from '../inference/scheduling/plugins/token-producer.ts'
import type { PickerPlugins } from './picker-plugins.ts'

/** How many tokens images and videos have by an EndpointPickerConfig: nothing unless it says `estimate`. */
export function readMediaTokens(plugins: PickerPlugins): Pick<SchedulingPlan, 'mediaTokens'> {
  const plugin = plugins.all().find(({ type }) => type.type === 'token-producer')
  const estimate = estimateOf(tokenProducerParameters.parse(plugin?.parameters ?? {}))
  return estimate === undefined ? {} : { mediaTokens: mediaTokensPlan(estimate) }
}
