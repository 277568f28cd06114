/** The flags of llm-d's endpoint picker (epp.md §2.3) and of GIE's light one (§1.9), by what becomes of them here. */
import type { FlagType } from './go-flags.ts'

/** Those that mean here what they mean there, and ours. */
export const FLAGS = {
  'grpc-port': 'string',
  'grpc-health-port': 'string',
  'metrics-port': 'string',
  'pool-name': 'string',
  'pool-namespace': 'string',
  'pool-group': 'string',
  'pools-of-service': 'string',
  'all-pools': 'bool',
  'model-pool': 'string',
  'endpoint-selector': 'string',
  'endpoint-target-ports': 'string',
  'config-file': 'string',
  'config-text': 'string',
  'allow-experimental-plugins': 'bool',
  'disable-endpoint-subset-filter': 'bool',
  'emit-endpoint-scores': 'bool',
  'refresh-metrics-interval': 'string',
  'metrics-staleness-threshold': 'string',
  'drain-timeout': 'string',
  'grpc-max-recv-msg-size': 'string',
  'secure-serving': 'bool',
  'cert-path': 'string',
  'enable-cert-reload': 'bool',
  'tls-min-version': 'string',
  'tls-cipher-suites': 'string',
  'metrics-endpoint-auth': 'bool',
  'metrics-cert-dir': 'string',
  'metrics-client-ca-file': 'string',
  'health-checking': 'bool',
  'ha-enable-leader-election': 'bool',
  'leader-elect-lease-duration': 'string',
  'leader-elect-renew-deadline': 'string',
  'leader-elect-retry-period': 'string',
  tracing: 'bool',
  'enable-grpc-stream-metrics': 'bool',
  'compat-metrics': 'bool',
  kubeconfig: 'string',
  v: 'string',
  'zap-log-level': 'string',
  'zap-devel': 'bool',
} as const satisfies Readonly<Record<string, FlagType>>

export type FlagName = keyof typeof FLAGS

/** Options of `signalbox serve` that go on to it as they are. */
export const SERVE_FLAGS = {
  threads: 'string',
  transport: 'string',
  trust: 'string',
  'client-ca': 'string',
  'mode-override': 'string',
  'max-held-bytes': 'string',
  'max-connection-age': 'string',
  'max-streams': 'string',
  'max-connections': 'string',
  'log-level': 'string',
  plugins: 'string',
  peers: 'string',
  'peer-listen': 'string',
  'peer-tls': 'string',
  'explain-key-file': 'string',
  'trace-file': 'string',
  'trace-share': 'string',
  'trace-max-bytes': 'string',
  'request-metrics': 'string',
  'plugin-metrics': 'string',
  'otlp-endpoint': 'string',
  'otlp-protocol': 'string',
  'span-share': 'string',
} as const satisfies Readonly<Record<string, FlagType>>

/** Accepted, so that a Deployment need not change; a line of the log tells why they change nothing. `silent`: the value that asks for nothing. */
export const IDLE_FLAGS: Readonly<
  Record<string, { readonly type: FlagType; readonly why: string; readonly silent?: string }>
> = {
  'refresh-prometheus-metrics-interval': { type: 'string', why: "the pools' gauges are read when they are scraped" },
  'grpc-max-send-msg-size': { type: 'string', why: 'no message that we send has more than 64 KiB of a body' },
  'enable-pprof': { type: 'bool', silent: 'false', why: 'there is no Go to profile: node --cpu-prof' },
  'zap-encoder': { type: 'string', silent: 'json', why: 'the log is JSON' },
  'zap-stacktrace-level': { type: 'string', why: 'errors always have their stack' },
  'zap-time-encoding': { type: 'string', why: 'times are ISO 8601' },
}

const IN_EXTRACTOR = 'is gone: name the metric in the configuration, in the engineConfigs of a core-metrics-extractor'
const IN_SOURCE = 'is gone: it is a parameter of metrics-data-source in the configuration'

/** Refused, with what there is instead. */
export const REFUSED_FLAGS: Readonly<Record<string, string>> = {
  'total-queued-requests-metric': IN_EXTRACTOR,
  'total-running-requests-metric': IN_EXTRACTOR,
  'kv-cache-usage-percentage-metric': IN_EXTRACTOR,
  'lora-info-metric': IN_EXTRACTOR,
  'cache-info-metric': IN_EXTRACTOR,
  'model-server-metrics-port': IN_SOURCE,
  'model-server-metrics-path': IN_SOURCE,
  'model-server-metrics-scheme': IN_SOURCE,
  'model-server-metrics-https-insecure-skip-verify': IN_SOURCE,
}
