/**
 * ORCA load reports: the header or trailer `endpoint-load-metrics` of a response, as `TEXT name=value,…` or `JSON {…}`, with or without that
 * first word, or `BIN` and the base64 of the message, which is also what `endpoint-load-metrics-bin` has. vLLM and Triton send one with each
 * response to whoever asks with `endpoint-load-metrics-format`.
 */
import { fromBinary } from '@bufbuild/protobuf'
import { OrcaLoadReportSchema } from '../gen/xds/data/orca/v3/orca_load_report_pb.ts'
import { type EndpointTable, MissingSignal } from './endpoint-table.ts'

/** Asks for a report; its value is the format. */
export const REPORT_FORMAT_HEADER = 'endpoint-load-metrics-format'
export const REPORT_FORMAT = 'TEXT'
export const REPORT_HEADER = 'endpoint-load-metrics'
export const REPORT_HEADER_BINARY = 'endpoint-load-metrics-bin'

/** Longer ones are passed over. */
const LONGEST = 8 * 1024
const LARGEST_COUNT = 0x3fffffff
const NAMED = 'named_metrics.'
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

const ALL_SIGNALS = MissingSignal.WAITING | MissingSignal.RUNNING | MissingSignal.KV_USAGE

/** What a report says that is of use here; what it does not say, or not as a number that makes sense, is absent. */
export interface LoadReport {
  readonly waiting?: number
  readonly running?: number
  /** 0 … 1 */
  readonly kvUsage?: number
}

/** Names that engines use → what they mean. */
const SIGNALS: ReadonlyMap<string, keyof LoadReport> = new Map([
  ['num_requests_waiting', 'waiting'],
  ['num_requests_running', 'running'],
  ['kv_cache_usage_perc', 'kvUsage'],
  ['kv_cache_utilization', 'kvUsage'],
])

/** The report in the value of the header, else in that of the binary one; undefined when there is none that can be used. */
export function loadReportOf(value: string | undefined, binary: string | undefined): LoadReport | undefined {
  if (value !== undefined) return readLoadReport(value)
  return binary === undefined ? undefined : readBinaryLoadReport(binary)
}

/**
 * The endpoint of the slot said so at `at`, Unix ms. A scrape that began before may overwrite it: then it is as new as any scrape. Which
 * decisions a report has seen it does not say, so that they stay counted until the next scrape, or until they are over.
 */
export function noteLoad(table: EndpointTable, slot: number, report: LoadReport, at: number): void {
  if (at < table.scrapedAt[slot]!) return
  // The first news of it: what the report does not say is not known.
  let missing = table.scrapedAt[slot] === 0 ? ALL_SIGNALS : table.missing[slot]!
  if (report.waiting !== undefined) {
    table.waiting[slot] = report.waiting
    missing &= ~MissingSignal.WAITING
  }
  if (report.running !== undefined) {
    table.running[slot] = report.running
    missing &= ~MissingSignal.RUNNING
  }
  if (report.kvUsage !== undefined) {
    table.kvUsage[slot] = report.kvUsage
    missing &= ~MissingSignal.KV_USAGE
  }
  table.missing[slot] = missing
  table.slack[slot] = 0
  table.scrapedAt[slot] = at
}

/** The report in a header's value; undefined when there is none that can be used. */
export function readLoadReport(value: string): LoadReport | undefined {
  if (value.length > LONGEST) return undefined
  const text = value.trim()
  if (/^JSON\s/i.test(text)) return readJson(text.slice(5))
  if (/^TEXT\s/i.test(text)) return readText(text.slice(5))
  if (/^BIN\s/i.test(text)) return readBinaryLoadReport(text.slice(4).trim())
  return text.startsWith('{') ? readJson(text) : readText(text)
}

/** The report in the value of the binary header. */
export function readBinaryLoadReport(value: string): LoadReport | undefined {
  if (value.length > LONGEST || !BASE64.test(value)) return undefined
  try {
    const { namedMetrics } = fromBinary(OrcaLoadReportSchema, Buffer.from(value, 'base64'))
    return reportOf(Object.entries(namedMetrics))
  } catch {
    return undefined
  }
}

function readText(text: string): LoadReport | undefined {
  const entries = text.split(',').map((pair): [string, number] => {
    const equals = pair.indexOf('=')
    const number = pair.slice(equals + 1).trim()
    return [pair.slice(0, Math.max(0, equals)).trim(), number === '' ? Number.NaN : Number(number)]
  })
  return reportOf(entries)
}

function readJson(text: string): LoadReport | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isObject(value)) return undefined
  const named = value['named_metrics']
  const flat = Object.entries(value).concat(isObject(named) ? Object.entries(named) : [])
  return reportOf(flat.filter((entry): entry is [string, number] => typeof entry[1] === 'number'))
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function reportOf(entries: readonly (readonly [string, number])[]): LoadReport | undefined {
  const report: { -readonly [Signal in keyof LoadReport]: number } = {}
  for (const [name, value] of entries) {
    const signal = SIGNALS.get(name.startsWith(NAMED) ? name.slice(NAMED.length) : name)
    if (signal === undefined || !Number.isFinite(value) || value < 0) continue
    report[signal] = signal === 'kvUsage' ? Math.min(1, value) : Math.min(LARGEST_COUNT, Math.round(value))
  }
  return Object.keys(report).length === 0 ? undefined : report
}
