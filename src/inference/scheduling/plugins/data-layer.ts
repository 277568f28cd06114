/**
 * What feeds the endpoints' data (epp.md §3.13, §4.2): pages to read, and what to take from them. They do their work on the main thread;
 * src/compile/picker-data-layer.ts makes the pool's `ScrapePlan` of them.
 */
import { z } from 'zod'
import { object, port, positiveDuration } from '../../../config/kinds/common.ts'
import { MetricSpecError, parseMetricSpec } from '../../metric-spec.ts'
import type { DataLayerType } from './plugin-type.ts'

const scheme = z.enum(['http', 'https']).default('http')
const path = z.string().regex(/^\/[\x21-\x7e]*$/, 'must be a path that starts with "/"')
const file = z.string().min(1).optional()
const tls = {
  /** Only said of https. */
  insecureSkipVerify: z.boolean().default(true),
  caCertPath: file,
  clientCertPath: file,
  clientKeyPath: file,
}
/** Durations stay text: parameters are read again to the same. */
const interval = z
  .string()
  .refine(text => positiveDuration.safeParse(text).success, 'must be a duration longer than 0, like 250ms')
  .optional()

function hasBoth({
  clientCertPath,
  clientKeyPath,
}: {
  clientCertPath?: string | undefined
  clientKeyPath?: string | undefined
}): boolean {
  return (clientCertPath === undefined) === (clientKeyPath === undefined)
}
const BOTH = 'clientCertPath and clientKeyPath belong together'

export const metricsSourceParameters = object(
  { scheme, path: path.default('/metrics'), port: port.optional(), ...tls, interval },
  { families: 'nothing else than what is needed is read anyway' },
).refine(hasBoth, BOTH)

export const modelsSourceParameters = object({
  scheme,
  path: path.default('/v1/models'),
  port: port.optional(),
  ...tls,
  interval,
}).refine(hasBoth, BOTH)

export const dcgmSourceParameters = object(
  { scheme, path: path.default('/metrics'), port: port.default(9400), ...tls, interval },
  { useNodeAddress: 'not supported: the addresses of nodes are not known here' },
).refine(hasBoth, BOTH)

/** Stays text for the same reason; what it means is read by `parseMetricSpec`. */
const spec = z
  .string()
  .superRefine((text, context) => {
    try {
      parseMetricSpec(text)
    } catch (error) {
      if (!(error instanceof MetricSpecError)) throw error
      context.addIssue({ code: 'custom', message: `"${text}" ${error.message}` })
    }
  })
  .default('')

const engineConfig = object({
  name: z
    .string()
    .min(1)
    .refine(name => name !== 'default', 'the name "default" is reserved: say defaultEngine'),
  queuedRequestsSpec: spec,
  runningRequestsSpec: spec,
  kvUsageSpec: spec,
  loraSpec: spec,
  cacheInfoSpec: spec,
  cacheBlockSizeLabelName: z.string().default(''),
  cacheNumBlocksLabelName: z.string().default(''),
  cacheBlockSizeSpec: spec,
  cacheNumBlocksSpec: spec,
  customMetrics: z
    .array(
      object({
        attributeKey: z.string().min(1),
        metricSpec: spec.refine(text => text.trim() !== '', 'must name a metric'),
      }),
    )
    .refine(list => new Set(list.map(item => item.attributeKey)).size === list.length, 'each attributeKey once')
    .default([]),
})

export const coreMetricsParameters = object({
  /** Label of pods. Default: `llm-d.ai/engine-type`, or its older name. */
  engineLabelKey: z.string().min(1).optional(),
  defaultEngine: z.string().min(1).default('vllm'),
  engineConfigs: z
    .array(engineConfig)
    .refine(list => new Set(list.map(item => item.name)).size === list.length, 'each engine once')
    .default([]),
})

const source = (type: string, parameters: z.ZodType): DataLayerType => ({ type, role: 'data-source', parameters })
const extractor = (type: string, parameters: z.ZodType): DataLayerType => ({ type, role: 'extractor', parameters })

export const DATA_LAYER: readonly DataLayerType[] = [
  source('metrics-data-source', metricsSourceParameters),
  source('models-data-source', modelsSourceParameters),
  source('dcgm-data-source', dcgmSourceParameters),
  source('endpoint-notification-source', object({})),
  source(
    'k8s-notification-source',
    object({ group: z.string().optional(), version: z.string().optional(), kind: z.string().optional() }),
  ),
  extractor('core-metrics-extractor', coreMetricsParameters),
  extractor('models-data-extractor', object({})),
  extractor('dcgm-extractor', object({})),
  {
    type: 'file-discovery',
    role: 'discovery',
    parameters: object({
      /** Of a file that lists endpoints (src/config/endpoints-file.ts). */
      path: z.string().min(1),
      /** It is read again when it changes. */
      watchFile: z.boolean().default(false),
    }),
  },
]
