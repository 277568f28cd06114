/**
 * ORCA load reports as vLLM sends them with its answers: `endpoint-load-metrics` as `TEXT name=value,…`, `JSON {…}`, or the message itself as
 * base64 in `endpoint-load-metrics-bin`.
 */
import { create, toBinary } from '@bufbuild/protobuf'
import { OrcaLoadReportSchema } from '../gen/xds/data/orca/v3/orca_load_report_pb.ts'
import type { Engine } from './engine.ts'

/** The header by which clients ask. */
export const LOAD_REPORT_FORMAT = 'endpoint-load-metrics-format'

const FORMATS = ['TEXT', 'JSON', 'BIN'] as const
type Format = (typeof FORMATS)[number]

/** `asked`: who asks by `endpoint-load-metrics-format` gets one; a format: everybody does, in this one. */
export const LOAD_REPORTS = ['asked', 'off', ...FORMATS] as const
type LoadReports = (typeof LOAD_REPORTS)[number]

/** The report as a header or trailer; none where nobody is to get one. `asked`: the value of `endpoint-load-metrics-format`. */
export function loadReport(engine: Engine, reports: LoadReports, asked: string | undefined): Record<string, string> {
  const format = reports === 'asked' ? FORMATS.find(name => name === asked?.toUpperCase()) : reports
  if (format === undefined || format === 'off') return {}
  return reportIn(format, {
    num_requests_waiting: engine.waiting.length,
    num_requests_running: engine.running.length,
    kv_cache_usage_perc: engine.cache.usage,
  })
}

function reportIn(format: Format, metrics: Readonly<Record<string, number>>): Record<string, string> {
  if (format === 'JSON') return { 'endpoint-load-metrics': `JSON ${JSON.stringify({ named_metrics: metrics })}` }
  if (format === 'TEXT') {
    const pairs = Object.entries(metrics).map(([name, value]) => `named_metrics.${name}=${value}`)
    return { 'endpoint-load-metrics': `TEXT ${pairs.join(', ')}` }
  }
  const bytes = toBinary(OrcaLoadReportSchema, create(OrcaLoadReportSchema, { namedMetrics: metrics }))
  return { 'endpoint-load-metrics-bin': Buffer.from(bytes).toString('base64') }
}
