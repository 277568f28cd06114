import type { AccessLogFilterJson } from '../../gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import type {
  LocalReplyConfigJson,
  ResponseMapperJson,
} from '../../gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import {
  badRequest,
  decisionTimeout,
  decisionUnavailable,
  endpointTimeout,
  endpointUnavailable,
  gatewayError,
  headersTooLarge,
  requestTooLarge,
  streamTimeout,
  undecided,
  upgradeRefused,
} from '../../llm/gateway-problems.ts'
import {
  noBackend,
  noEndpoints,
  type OpenAiProblem,
  openAiErrorBody,
  overloaded,
  routeNotFound,
  uploadTimeout,
} from '../../llm/openai-error.ts'
import { ANSWERED_RECORD } from '../../pipeline/plan.ts'
import { METADATA_NAMESPACE } from '../names.ts'
import { literal, setHeader } from './json.ts'

/**
 * Answers that Envoy makes by itself get the body of an OpenAI error; the status stays. The first mapper that matches applies, and
 * without a body of its own it leaves the answer as it is.
 *
 * Mappers see the answers of ext_proc, redirects and direct responses, too (measured on 1.40): ours carry metadata that say so, and
 * direct responses of ours have a status and no response flag that no mapper names, or the same body. Envoy's reasons are response
 * flags; what ext_proc itself fails with has none, and only the status tells.
 */
export const LOCAL_REPLIES: LocalReplyConfigJson = {
  mappers: [
    { filter: answeredByUs() },
    // Becomes a grpc-status with the body as its message.
    {
      filter: { headerFilter: { header: { name: 'content-type', stringMatch: { prefix: 'application/grpc' } } } },
    },
    { filter: status('LE', 399) },
    mapper(and(flags('NC'), status('EQ', 500)), noBackend()),
    mapper(flags('NC'), undecided()),
    mapper(flags('NR'), routeNotFound()),
    mapper(flags('UH'), noEndpoints()),
    mapper(flags('UT', 'DT'), endpointTimeout()),
    mapper(and(flags('SI'), status('EQ', 408)), uploadTimeout()),
    mapper(flags('SI'), streamTimeout()),
    mapper(flags('UO', 'OM'), overloaded()),
    mapper(flags('UF', 'UC', 'UR', 'LR', 'UPE', 'DF', 'URX'), endpointUnavailable()),
    mapper(status('EQ', 503), decisionUnavailable()),
    mapper(status('EQ', 504), decisionTimeout()),
    // Direct responses of ours: their body is right already.
    { filter: or(status('EQ', 404), status('EQ', 405), status('EQ', 500)) },
    mapper(status('EQ', 403), upgradeRefused()),
    mapper(status('EQ', 408), uploadTimeout()),
    mapper(status('EQ', 413), requestTooLarge()),
    mapper(status('EQ', 431), headersTooLarge()),
    mapper(status('LE', 499), badRequest()),
    mapper(status('GE', 500), gatewayError()),
  ],
}

function answeredByUs(): AccessLogFilterJson {
  const matcher = { filter: METADATA_NAMESPACE, path: [{ key: ANSWERED_RECORD }], value: { presentMatch: true } }
  return { metadataFilter: { matcher, matchIfKeyNotFound: false } }
}

function mapper(filter: AccessLogFilterJson, problem: OpenAiProblem): ResponseMapperJson {
  return {
    filter,
    bodyFormatOverride: {
      textFormatSource: { inlineString: literal(openAiErrorBody(problem).toString()) },
      contentType: 'application/json',
    },
    // As `answerProblem` has it.
    ...(problem.status === 503 ? { headersToAdd: [setHeader('retry-after', '1')] } : {}),
  }
}

function flags(...names: readonly string[]): AccessLogFilterJson {
  return { responseFlagFilter: { flags: [...names] } }
}

function status(op: 'EQ' | 'GE' | 'LE', value: number): AccessLogFilterJson {
  // Envoy demands a runtime key; nothing sets this one.
  return { statusCodeFilter: { comparison: { op, value: { defaultValue: value, runtimeKey: 'signalbox.unset' } } } }
}

function and(...filters: readonly AccessLogFilterJson[]): AccessLogFilterJson {
  return { andFilter: { filters: [...filters] } }
}

function or(...filters: readonly AccessLogFilterJson[]): AccessLogFilterJson {
  return { orFilter: { filters: [...filters] } }
}
