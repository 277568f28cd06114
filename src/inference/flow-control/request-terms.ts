/** What a request's headers say of its place in the queues (epp.md §1.7). */
import { type HeaderName, type HeaderView, headerName } from '../../extproc/header-view.ts'
import { parseGrpcTimeout } from '../../grpc/grpc-timeout.ts'

const OBJECTIVE = [headerName('x-llm-d-inference-objective'), headerName('x-gateway-inference-objective')] as const
const FAIRNESS_ID = [
  headerName('x-llm-d-inference-fairness-id'),
  headerName('x-gateway-inference-fairness-id'),
] as const
const TTFT = [headerName('x-llm-d-slo-ttft-ms'), headerName('x-slo-ttft-ms')] as const
const GRPC_TIMEOUT = headerName('grpc-timeout')
const EXPECTED_TIMEOUT = headerName('x-envoy-expected-rq-timeout-ms')

const DEFAULT_FAIRNESS_ID = 'default-flow'
/** Clients name themselves; longer names are cut, UTF-16 units. */
const MAX_FAIRNESS_ID = 256

/** The priority of the InferenceObjective that the request names; 0 without one, or with one that there is not. */
export function priorityOf(headers: HeaderView, objectives: ReadonlyMap<string, number>): number {
  const name = first(headers, OBJECTIVE)
  return name === undefined ? 0 : (objectives.get(name) ?? 0)
}

/** Whom the request belongs to; `agents`: headers that say it where the client does not. */
export function fairnessIdOf(headers: HeaderView, agents: readonly HeaderName[] = []): string {
  const id = first(headers, FAIRNESS_ID) ?? first(headers, agents)
  return id?.slice(0, MAX_FAIRNESS_ID) ?? DEFAULT_FAIRNESS_ID
}

/** The time to the first token that the client can live with, ms; infinite when it did not say. */
export function ttftTargetOf(headers: HeaderView): number {
  const target = Number(first(headers, TTFT) ?? Number.NaN)
  return target > 0 ? target : Number.POSITIVE_INFINITY
}

/** The time that the client gives the whole request, ms; infinite when it did not say. */
export function timeoutOf(headers: HeaderView): number {
  const grpc = headers.get(GRPC_TIMEOUT)
  const expected = headers.decimal(EXPECTED_TIMEOUT)
  return Math.min(
    (grpc === undefined ? undefined : parseGrpcTimeout(grpc)) ?? Number.POSITIVE_INFINITY,
    expected > 0 ? expected : Number.POSITIVE_INFINITY,
  )
}

function first(headers: HeaderView, names: readonly HeaderName[]): string | undefined {
  for (const name of names) {
    const value = headers.get(name)
    if (value !== undefined && value !== '') return value
  }
  return undefined
}
