import type { ImmediateResponse } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { HeaderList } from './header-list.ts'
import { applyMutation, type MutationResult, type MutationRules } from './header-mutation.ts'

/** Headers of an immediate response with its changes applied; a status that is unset or below 200 becomes 200, as in Envoy. */
export function immediateHeaders(
  answer: ImmediateResponse,
  rules: MutationRules,
): { readonly headers: HeaderList; readonly result: MutationResult } {
  const given = answer.status?.code ?? 0
  const headers = new HeaderList([[':status', String(given < 200 ? 200 : given)]])
  if (answer.body.length > 0) headers.add('content-type', 'text/plain')
  if (answer.grpcStatus !== undefined) headers.add('grpc-status', String(answer.grpcStatus.status))
  const result =
    answer.headers === undefined
      ? { rejected: 0 }
      : applyMutation(headers, answer.headers, { rules, replacing: false, contentLength: false })
  return { headers, result }
}
