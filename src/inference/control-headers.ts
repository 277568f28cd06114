/**
 * The headers by which clients and gateways steer an endpoint picker (epp.md §1.7), by their present names and the deprecated ones: where
 * both are there, the present name wins.
 */
import { type HeaderName, type HeaderView, headerName } from '../extproc/header-view.ts'

interface ControlHeader {
  readonly current: HeaderName
  readonly deprecated: HeaderName
}

function controlHeader(current: string, deprecated: string): ControlHeader {
  return { current: headerName(current), deprecated: headerName(deprecated) }
}

const MODEL_REWRITE = controlHeader('x-llm-d-model-name-rewrite', 'x-gateway-model-name-rewrite')
const SLO_TTFT = controlHeader('x-llm-d-slo-ttft-ms', 'x-slo-ttft-ms')
const SLO_TPOT = controlHeader('x-llm-d-slo-tpot-ms', 'x-slo-tpot-ms')
const PREFER = headerName('prefer')

/** Says on a refusal why the request was dropped. */
export const DROPPED_REASON = 'x-llm-d-request-dropped-reason'

export const PREFILL_HEADER = 'x-prefiller-host-port'
export const ENCODE_HEADER = 'x-encoder-hosts-ports'
export const KV_SOURCE_HEADER = 'x-kv-cache-source-host-port'
export const DATA_PARALLEL_HEADER = 'x-data-parallel-host-port'

/** What an endpoint picker tells its sidecars: a client that says it in our place would choose whom they connect to. */
export const SYSTEM_OWNED_HEADERS: readonly string[] = [
  PREFILL_HEADER,
  ENCODE_HEADER,
  DATA_PARALLEL_HEADER,
  KV_SOURCE_HEADER,
]
const SYSTEM_OWNED = SYSTEM_OWNED_HEADERS.map(headerName)

/** The model to put in the place of the body's; undefined: none is asked for. */
export function modelRewrite(headers: HeaderView): string | undefined {
  return valueOf(headers, MODEL_REWRITE)
}

/** The time to the first token that the client can live with, ms; 0 = it did not say, or nothing that makes sense. */
export function ttftTarget(headers: HeaderView): number {
  return milliseconds(valueOf(headers, SLO_TTFT))
}

/** The same for the time per output token. */
export function tpotTarget(headers: HeaderView): number {
  return milliseconds(valueOf(headers, SLO_TPOT))
}

/** `Prefer: if-available`: only if the chosen endpoint has the beginning of the prompt in its cache. */
export function prefersAvailable(headers: HeaderView): boolean {
  if (headers.find(PREFER) < 0) return false
  const preferences = headers.joined(PREFER)!.split(',')
  return preferences.some(preference => preference.split(';', 1)[0]!.trim().toLowerCase() === 'if-available')
}

/** Appends the names of the system-owned headers that a request brings along. */
export function findSystemOwned(headers: HeaderView, names: string[]): void {
  for (const name of SYSTEM_OWNED) if (headers.find(name) >= 0) names.push(name.text)
}

function valueOf(headers: HeaderView, { current, deprecated }: ControlHeader): string | undefined {
  const value = headers.get(current) ?? headers.get(deprecated)
  return value === '' ? undefined : value
}

function milliseconds(text: string | undefined): number {
  if (text === undefined || !/^ *\d{1,15}(?:\.\d{1,15})? *$/.test(text)) return 0
  return Number(text)
}
