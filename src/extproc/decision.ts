import type { Replacement } from '../body/splice.ts'
import type { PreparedAnswer } from './prepared-answer.ts'

/** The header with the endpoint list, and its key in dynamic metadata `envoy.lb`. */
export const DESTINATION_ENDPOINT = 'x-gateway-destination-endpoint'

/**
 * What is to be done with one request: filled by the decider, written by the exchange. Pooled with its exchange, so every
 * field is reset by `clear` and nothing may be kept after the stream closed.
 */
export class Decision {
  /** HTTP status of an answer of ours instead of the upstream's; 0 = the request goes on. */
  immediateStatus = 0
  immediateBody: Uint8Array | undefined
  /** gRPC status for gRPC clients; −1 = none. */
  immediateGrpcStatus = -1
  /** Shown as Envoy's response code details: lower_case_words. */
  immediateDetails = ''

  /** Headers to set: on the request, or on the immediate answer. Overwrite semantics. */
  readonly setNames: string[] = []
  readonly setValues: string[] = []
  /** Request headers to remove. */
  readonly removeNames: string[] = []
  clearRouteCache = false
  /** Index in `setValues` of the value that `unretriedValue` replaces when Envoy must not keep the body; −1 = none. */
  unretriedIndex = -1
  unretriedValue = ''

  /** Ordered endpoint list for `envoy.lb`/`x-gateway-destination-endpoint`, metadata and (if wanted) header; '' = none. */
  endpoints = ''
  endpointHeader = false
  /** Scores of endpoints for `envoy.lb`/`x-gateway-destination-endpoint-scores`; empty: none are told. */
  readonly scoreNames: string[] = []
  readonly scores: number[] = []
  /** The line of the decision record, as metadata of namespace `signalbox` (own fleet) for access logs. */
  readonly recordNames: string[] = []
  readonly recordValues: string[] = []

  /**
   * The header answer as a block: what else is here to be said in it is ignored then. Only while `Exchange.headersAnswered` is
   * false, and without replacements.
   */
  prepared: PreparedAnswer | undefined

  /** Edits of the request body by absolute offsets, in order. */
  readonly replacements: Replacement[] = []

  set(name: string, value: string): void {
    this.setNames.push(name)
    this.setValues.push(value)
  }

  record(name: string, value: string): void {
    this.recordNames.push(name)
    this.recordValues.push(value)
  }

  clear(): void {
    this.immediateStatus = 0
    this.immediateBody = undefined
    this.immediateGrpcStatus = -1
    this.immediateDetails = ''
    empty(this.setNames)
    empty(this.setValues)
    empty(this.removeNames)
    this.clearRouteCache = false
    this.unretriedIndex = -1
    this.unretriedValue = ''
    this.endpoints = ''
    this.endpointHeader = false
    empty(this.scoreNames)
    empty(this.scores)
    empty(this.recordNames)
    empty(this.recordValues)
    this.prepared = undefined
    empty(this.replacements)
  }
}

/** Setting a length costs a call even when it changes nothing. */
function empty(list: unknown[]): void {
  if (list.length > 0) list.length = 0
}
