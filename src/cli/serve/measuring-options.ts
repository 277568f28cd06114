import type { MeasuringOptions } from '../../threads/measuring.ts'
import { UsageError } from '../command.ts'
import { parseShare, parseTracing, TRACING_OPTIONS, type TracingSettings } from './tracing-options.ts'

/** What is measured and traced beyond what always is. */
export interface MeasuringSettings {
  /** llm-d's names of metrics are shown beside ours. */
  readonly compat: boolean
  /** What threads do. */
  readonly threads: MeasuringOptions
  /** Undefined: nothing is traced. */
  readonly tracing: TracingSettings | undefined
}

export const MEASURING_OPTIONS = {
  'compat-metrics': { type: 'boolean', default: false },
  'request-metrics': { type: 'string' },
  'plugin-metrics': { type: 'string' },
  'stream-metrics': { type: 'boolean', default: false },
  ...TRACING_OPTIONS,
} as const

export const MEASURING_HELP = `  --request-metrics MODE   metrics by model, tenant and endpoint (docs/metrics.md): off, on, or tokens (response bodies are read too) [off; on with
                           --compat-metrics]
  --plugin-metrics N       share of the picks whose plug-ins are timed, 0 to 1 (with --request-metrics) [0; 0.01 with --compat-metrics]
  --stream-metrics         ext_proc streams by gRPC status and duration
  --compat-metrics         llm-d's names (llm_d_epp_*, bbr_*) beside ours
  --tracing on|off         OpenTelemetry traces (docs/tracing.md) [on where an OTLP endpoint is given]
  --otlp-endpoint URL      where traces go [$OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, $OTEL_EXPORTER_OTLP_ENDPOINT]
  --otlp-protocol P        grpc or http/protobuf [$OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, $OTEL_EXPORTER_OTLP_PROTOCOL, else grpc]
  --span-share N           share of the requests that come without a trace and get one [$OTEL_TRACES_SAMPLER_ARG, else 0.1]`

const PLUGIN_SHARE = 0.01

/** @throws UsageError */
export function parseMeasuring(
  values: {
    readonly 'compat-metrics': boolean
    readonly 'request-metrics'?: string | undefined
    readonly 'plugin-metrics'?: string | undefined
    readonly 'stream-metrics': boolean
    readonly tracing?: string | undefined
    readonly 'otlp-endpoint'?: string | undefined
    readonly 'otlp-protocol'?: string | undefined
    readonly 'span-share'?: string | undefined
  },
  env: NodeJS.ProcessEnv,
): MeasuringSettings {
  const compat = values['compat-metrics']
  const mode = values['request-metrics'] ?? (compat ? 'on' : 'off')
  if (mode !== 'off' && mode !== 'on' && mode !== 'tokens')
    throw new UsageError(`--request-metrics: '${mode}' is neither off, on nor tokens`)
  const share = values['plugin-metrics']
  if (share !== undefined && mode === 'off') throw new UsageError('--plugin-metrics needs --request-metrics')
  const tracing = parseTracing(values, env)
  return {
    compat,
    threads: {
      ...(mode === 'off'
        ? {}
        : {
            requests: {
              tokens: mode === 'tokens',
              pluginShare: share === undefined ? (compat ? PLUGIN_SHARE : 0) : parseShare(share, '--plugin-metrics'),
            },
          }),
      ...(values['stream-metrics'] ? { streams: true } : {}),
      ...(tracing === undefined ? {} : { traces: tracing.sampler }),
    },
    tracing,
  }
}
