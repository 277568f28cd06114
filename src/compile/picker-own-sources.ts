import { z } from 'zod'
import { object, port } from '../config/kinds/common.ts'
import { parseMetricSpec } from '../inference/metric-spec.ts'
import type { CustomMetricPlan, ExporterPlan } from '../inference/pool-plan.ts'
import type { DataSourceType } from '../inference/scheduling/plugins/plugin-type.ts'
import type { PickerPlugins, Plugin } from './picker-plugins.ts'

const INTERVAL_MS = 1000

const page = object({
  path: z.string().regex(/^\/[\x21-\x7e]*$/, 'must be a path that starts with "/"'),
  port: port.optional(),
  scheme: z.enum(['http', 'https']).default('http'),
  intervalMs: z.number().min(10).max(3_600_000).default(INTERVAL_MS),
  metrics: z.record(z.string().min(1), z.string().min(1)).optional(),
  attributes: z.array(z.string().min(1)).min(1).optional(),
  extract: z.function().optional(),
}).refine(
  ({ metrics, attributes, extract }) =>
    metrics === undefined
      ? attributes !== undefined && extract !== undefined
      : attributes === undefined && extract === undefined,
  'must have either metrics, or attributes and extract',
)

/** The page that a user's own data source reads; undefined: what is wrong with it was told. */
export function ownExporter(plugin: Plugin, type: DataSourceType, plugins: PickerPlugins): ExporterPlan | undefined {
  const { name, index, parameters } = plugin
  try {
    const { path, port: at, scheme, intervalMs, metrics, attributes = [] } = page.parse(type.createSource(parameters))
    const families = Object.entries(metrics ?? {}).map(
      ([attribute, text]): CustomMetricPlan => ({
        attribute,
        spec: parseMetricSpec(text) ?? { name: text, labels: {} },
      }),
    )
    return {
      scheme,
      path,
      ...(at === undefined ? {} : { port: at }),
      ...(scheme === 'https' ? { tls: { insecureSkipVerify: true } } : {}),
      intervalMs,
      metrics:
        metrics === undefined
          ? attributes.map(attribute => ({ attribute, spec: { name: attribute, labels: {} } }))
          : families,
      ...(metrics === undefined ? { own: { type: type.type, parameters } } : {}),
    }
  } catch (error) {
    const why =
      error instanceof z.ZodError
        ? error.issues.map(issue => `${issue.path.join('.')} ${issue.message}`.trim()).join('; ')
        : String(error)
    plugins.error('invalid-value', ['plugins', index], `the data source "${name}": ${why}`)
    return undefined
  }
}
