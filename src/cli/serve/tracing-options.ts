import type { SamplerPlan } from '../../telemetry/sampler.ts'
import { UsageError } from '../command.ts'

/** Where traces go, and which requests have one. What the exporter reads from `OTEL_*` by itself (headers, certificates, limits) is not here. */
export interface TracingSettings {
  readonly sampler: SamplerPlan
  readonly exporter: TraceExporterKind
  /** Undefined: as the environment says. */
  readonly endpoint: string | undefined
  readonly serviceName: string
  /** How spans are put together; what is absent is OpenTelemetry's default. */
  readonly batches: SpanBatches
}

interface SpanBatches {
  readonly scheduledDelayMillis?: number
  readonly exportTimeoutMillis?: number
  readonly maxQueueSize?: number
  readonly maxExportBatchSize?: number
}

type TraceExporterKind = 'grpc' | 'http/protobuf' | 'console'

export const TRACING_OPTIONS = {
  tracing: { type: 'string' },
  'otlp-endpoint': { type: 'string' },
  'otlp-protocol': { type: 'string' },
  'span-share': { type: 'string' },
} as const

interface Values {
  readonly tracing?: string | undefined
  readonly 'otlp-endpoint'?: string | undefined
  readonly 'otlp-protocol'?: string | undefined
  readonly 'span-share'?: string | undefined
}

const HOST_PORT = /^[\w.-]+:\d+$/
const DEFAULT_SHARE = '0.1'
const SERVICE_NAME = 'signalbox'

/** Options come before the environment. Undefined: nothing is traced. @throws UsageError */
export function parseTracing(values: Values, env: NodeJS.ProcessEnv): TracingSettings | undefined {
  const { tracing, 'otlp-endpoint': endpoint } = values
  if (tracing !== undefined && tracing !== 'on' && tracing !== 'off')
    throw new UsageError(`--tracing: '${tracing}' is neither on nor off`)
  for (const option of ['otlp-endpoint', 'otlp-protocol', 'span-share'] as const)
    if (tracing === 'off' && values[option] !== undefined)
      throw new UsageError(`--${option} has no effect with --tracing off`)
  if (tracing === 'off') return undefined
  if (endpoint !== undefined) checkUrl(endpoint, '--otlp-endpoint')
  const asked = tracing === 'on' || endpoint !== undefined
  if (!asked && env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return undefined
  const exporter = (endpoint === undefined ? env['OTEL_TRACES_EXPORTER'] : undefined) || 'otlp'
  if (exporter === 'none' && !asked) return undefined
  if (exporter !== 'console' && exporter !== 'otlp')
    throw new UsageError(`OTEL_TRACES_EXPORTER: '${exporter}' is neither otlp, console nor none`)
  const given = endpoint ?? (env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] || env['OTEL_EXPORTER_OTLP_ENDPOINT'])
  if (exporter === 'otlp' && !given) {
    if (tracing === 'on')
      throw new UsageError('--tracing on: no --otlp-endpoint, and no OTEL_EXPORTER_OTLP_ENDPOINT either')
    for (const option of ['otlp-protocol', 'span-share'] as const)
      if (values[option] !== undefined) throw new UsageError(`--${option} needs --otlp-endpoint`)
    return undefined
  }
  // Go's exporters take HOST:PORT too.
  const bare = endpoint === undefined && given !== undefined && HOST_PORT.test(given) ? `http://${given}` : undefined
  if (exporter === 'otlp' && endpoint === undefined && bare === undefined)
    checkUrl(given!, 'OTEL_EXPORTER_OTLP_ENDPOINT')
  return {
    sampler: samplerOf(values, env),
    exporter: exporter === 'console' ? 'console' : protocolOf(values, env),
    endpoint: endpoint ?? bare,
    serviceName: env['OTEL_SERVICE_NAME'] || SERVICE_NAME,
    batches: batchesOf(env),
  }
}

const BATCHES = [
  ['scheduledDelayMillis', 'OTEL_BSP_SCHEDULE_DELAY'],
  ['exportTimeoutMillis', 'OTEL_BSP_EXPORT_TIMEOUT'],
  ['maxQueueSize', 'OTEL_BSP_MAX_QUEUE_SIZE'],
  ['maxExportBatchSize', 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE'],
] as const

function batchesOf(env: NodeJS.ProcessEnv): SpanBatches {
  return Object.fromEntries(
    BATCHES.flatMap(([key, name]) => {
      const text = env[name]
      if (text === undefined || text === '') return []
      if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`${name}: '${text}' is no whole number above 0`)
      return [[key, Number(text)]]
    }),
  )
}

function protocolOf(values: Values, env: NodeJS.ProcessEnv): TraceExporterKind {
  const option = values['otlp-protocol']
  const name = option === undefined ? 'OTEL_EXPORTER_OTLP_PROTOCOL' : '--otlp-protocol'
  const text = option ?? (env['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] || env['OTEL_EXPORTER_OTLP_PROTOCOL'] || 'grpc')
  if (text === 'grpc' || text === 'http/protobuf') return text
  throw new UsageError(`${name}: '${text}' is neither grpc nor http/protobuf`)
}

function samplerOf(values: Values, env: NodeJS.ProcessEnv): SamplerPlan {
  const option = values['span-share']
  if (option !== undefined) return { parentBased: true, share: parseShare(option, '--span-share') }
  const name = env['OTEL_TRACES_SAMPLER'] || 'parentbased_traceidratio'
  const parentBased = name.startsWith('parentbased_')
  switch (parentBased ? name.slice('parentbased_'.length) : name) {
    case 'always_on':
      return { parentBased, share: 1 }
    case 'always_off':
      return { parentBased, share: 0 }
    case 'traceidratio':
      return {
        parentBased,
        share: parseShare(env['OTEL_TRACES_SAMPLER_ARG'] || DEFAULT_SHARE, 'OTEL_TRACES_SAMPLER_ARG'),
      }
    default:
      throw new UsageError(`OTEL_TRACES_SAMPLER: '${name}' is not supported`)
  }
}

/** @throws UsageError for what is not in 0 … 1 */
export function parseShare(text: string, what: string): number {
  const share = Number(text)
  if (text.trim() === '' || !(share >= 0 && share <= 1))
    throw new UsageError(`${what}: '${text}' is no number from 0 to 1`)
  return share
}

function checkUrl(text: string, what: string): void {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new UsageError(`${what}: '${text}' is no http:// or https:// URL`)
}
