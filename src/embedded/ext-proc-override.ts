/** `mode_override` (envoy-xds-istio.md §1.8 as corrected by envoy-1.40-measured.md §1). */
import type { ProcessingMode } from '../gen/envoy/extensions/filters/http/ext_proc/v3/processing_mode_pb.ts'
import { ProcessingMode_HeaderSendMode as Send } from '../gen/envoy/extensions/filters/http/ext_proc/v3/processing_mode_pb.ts'
import { BodyMode, type ExtProcSettings, isServed, type Modes } from './ext-proc-settings.ts'

/**
 * The modes after an override; undefined when it is ignored: not allowed, a nowait filter, one side configured as full duplex
 * at filter level, or not among `allowed_override_modes`. A body mode is taken as written (omitted = NONE), header and trailer
 * modes stay where the override says DEFAULT.
 */
export function applyOverride(
  settings: ExtProcSettings,
  mode: ProcessingMode,
  by: 'request' | 'response',
): Modes | undefined {
  if (!settings.allowModeOverride || settings.nowait) return undefined
  const { request, response } = settings.filterModes
  if (request.body === BodyMode.FULL_DUPLEX || response.body === BodyMode.FULL_DUPLEX) return undefined
  const base = settings.modes
  const requestBody = mode.requestBodyMode
  const responseBody = mode.responseBodyMode
  if (!isServed(requestBody) || !isServed(responseBody)) return undefined
  const result: Modes = {
    request: {
      headers: base.request.headers,
      body: by === 'request' ? requestBody : base.request.body,
      trailers: pick(mode.requestTrailerMode, base.request.trailers),
    },
    response: {
      headers: by === 'request' ? pick(mode.responseHeaderMode, base.response.headers) : base.response.headers,
      body: responseBody,
      trailers: pick(mode.responseTrailerMode, base.response.trailers),
    },
  }
  const allowed = settings.allowedOverrideModes
  return allowed.length === 0 || allowed.some(entry => equals(entry, result)) ? result : undefined
}

function pick(mode: number, otherwise: boolean): boolean {
  return mode === Send.SEND ? true : mode === Send.SKIP ? false : otherwise
}

/** An entry compares with the effective result, trailer modes included; DEFAULT equals neither SEND nor SKIP. */
function equals(entry: ProcessingMode, modes: Modes): boolean {
  const send = (value: boolean): number => (value ? Send.SEND : Send.SKIP)
  return (
    entry.responseHeaderMode === send(modes.response.headers) &&
    entry.requestTrailerMode === send(modes.request.trailers) &&
    entry.responseTrailerMode === send(modes.response.trailers) &&
    entry.requestBodyMode === modes.request.body &&
    entry.responseBodyMode === modes.response.body
  )
}
