import type { SchedulingPlan } from '../inference/pool-plan.ts'
import {
  reporterParameters,
  requestAttributeReporter,
} from '../inference/scheduling/plugins/request-attribute-reporter.ts'
import type { PickerPlugins } from './picker-plugins.ts'

/** What the gateway is told when a response ends: the attributes of all reporters. */
export function readUsageReports(plugins: PickerPlugins): Pick<SchedulingPlan, 'usageReports'> {
  const reports = plugins
    .all()
    .filter(({ type }) => type.type === requestAttributeReporter.type)
    .flatMap(({ parameters }) => reporterParameters.parse(parameters).attributes)
    .map(({ key, expression, condition }) => ({
      ...key,
      expression,
      ...(condition === undefined ? {} : { condition }),
    }))
  return reports.length === 0 ? {} : { usageReports: reports }
}
