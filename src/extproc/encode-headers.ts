/** Hand encoder of headers and their mutation, as parts of `ProcessingResponse`. */
import { type Decision, DESTINATION_ENDPOINT } from './decision.ts'
import type { WireWriter } from './wire.ts'

/** `CommonResponse.header_mutation`, where there is any. `contentLength` −1 = leave, −2 = remove. */
export function writeHeaderMutation(out: WireWriter, decision: Decision, contentLength: number): void {
  const endpointHeader = decision.endpointHeader && decision.endpoints !== ''
  if (decision.setNames.length === 0 && decision.removeNames.length === 0 && contentLength === -1 && !endpointHeader)
    return
  out.open(2)
  writeSetHeaders(out, decision)
  if (endpointHeader) writeSetHeader(out, DESTINATION_ENDPOINT, decision.endpoints)
  if (contentLength >= 0) writeSetHeader(out, 'content-length', String(contentLength))
  for (const name of decision.removeNames) out.text(2, name)
  if (contentLength === -2) out.text(2, 'content-length')
  out.close()
}

export function writeSetHeaders(out: WireWriter, decision: Decision): void {
  for (let i = 0; i < decision.setNames.length; i++) writeSetHeader(out, decision.setNames[i]!, decision.setValues[i]!)
}

/** Overwrites portably: Envoy reads only `append`, agentgateway `append_action` first (envoy-xds-istio.md §1.10). */
export function writeSetHeader(out: WireWriter, name: string, value: string): void {
  out.open(1)
  writeHeader(out, 1, name, value)
  out.open(2)
  out.close()
  out.uint(3, 2)
  out.close()
}

/** `HeaderValue` with `raw_value`: `value` alone would set an empty header. */
export function writeHeader(out: WireWriter, field: number, name: string, value: string): void {
  out.open(field)
  out.text(1, name)
  out.text(3, value)
  out.close()
}
