import { Buffer } from 'node:buffer'

/** A refusal of ours with everything that an OpenAI client wants to know of it (https://platform.openai.com/docs/guides/error-codes). */
export interface OpenAiProblem {
  readonly status: number
  /** `error.code`: stable, for programs. Also Envoy's response code details. */
  readonly code: string
  /** `error.type`. */
  readonly type: 'invalid_request_error' | 'rate_limit_error' | 'server_error'
  /** `error.param`: the field of the body that is wrong. */
  readonly param?: string
  readonly message: string
  /** `x-llm-d-request-dropped-reason` (epp.md §1.4). */
  readonly droppedReason?: DroppedReason
}

/** Why a request was dropped that nothing is wrong with. */
type DroppedReason =
  | 'evicted'
  | 'rejected-no-endpoints'
  | 'rejected-saturated'
  | 'rejected-shutting-down'
  | 'rejected-ttl-expired'

/** The body of an OpenAI error. */
export function openAiErrorBody(problem: OpenAiProblem): Buffer {
  const { message, type, param, code } = problem
  return Buffer.from(JSON.stringify({ error: { message, type, param: param ?? null, code } }))
}

function invalid(status: number, code: string, message: string, param?: string): OpenAiProblem {
  return { status, code, type: 'invalid_request_error', message, ...(param === undefined ? {} : { param }) }
}

/** Names of models come from clients: cut, so that an error stays small. */
function shown(model: string): string {
  return model.length > 200 ? `${model.slice(0, 200)}…` : model
}

export function modelNotFound(model: string): OpenAiProblem {
  return invalid(
    404,
    'model_not_found',
    `The model \`${shown(model)}\` does not exist or you do not have access to it.`,
    'model',
  )
}

export function missingModel(): OpenAiProblem {
  return invalid(400, 'missing_model', 'You must provide a `model` parameter.', 'model')
}

export function invalidJson(offset: number): OpenAiProblem {
  return invalid(400, 'invalid_json', `The request body is not valid JSON (near byte ${offset}).`)
}

export function incompleteJson(): OpenAiProblem {
  return invalid(400, 'invalid_json', 'The request body is not valid JSON: it ends too early.')
}

export function duplicateKey(key: string): OpenAiProblem {
  return invalid(400, 'duplicate_key', `The request body has the key \`${key}\` more than once.`, key)
}

export function invalidModel(): OpenAiProblem {
  return invalid(
    400,
    'invalid_model',
    'The `model` parameter is too long, or has control characters or broken ones.',
    'model',
  )
}

export function invalidMultipart(): OpenAiProblem {
  return invalid(400, 'invalid_multipart', 'The request body is not valid multipart/form-data.')
}

/** `why`: as part of a sentence. */
export function invalidGrpc(why: string): OpenAiProblem {
  return invalid(400, 'invalid_grpc_message', `The request body is not a gRPC message that can be read: ${why}.`)
}

export function unsupportedMediaType(): OpenAiProblem {
  return invalid(415, 'unsupported_media_type', 'The request body must be application/json or multipart/form-data.')
}

export function bodyTooLarge(limit: number): OpenAiProblem {
  return invalid(413, 'request_too_large', `The request body is larger than ${limit} bytes.`)
}

export function badContentLength(): OpenAiProblem {
  return invalid(400, 'invalid_content_length', 'The content-length header is not a number.')
}

export function uploadTimeout(): OpenAiProblem {
  return invalid(408, 'request_timeout', 'The request body did not arrive in time.')
}

export function routeNotFound(): OpenAiProblem {
  return invalid(404, 'route_not_found', 'There is no route for this request.')
}

export function noBackend(): OpenAiProblem {
  return { status: 500, code: 'no_backend', type: 'server_error', message: 'The matching route has no valid backend.' }
}

export function noEndpoints(): OpenAiProblem {
  return {
    status: 503,
    code: 'no_endpoints',
    type: 'server_error',
    message: 'No endpoint is ready to serve this request.',
    droppedReason: 'rejected-no-endpoints',
  }
}

/** `named`: the gateway says for which pool the request is, and we do not serve that one. */
export function unknownPool(named: boolean): OpenAiProblem {
  return {
    status: 503,
    code: 'unknown_pool',
    type: 'server_error',
    message: named
      ? 'The gateway names a pool that is not served here.'
      : 'The gateway does not say for which of its pools this request is.',
    droppedReason: 'rejected-no-endpoints',
  }
}

/** The gateway's subset hint cannot be meant. */
export function subsetTooLarge(limit: number): OpenAiProblem {
  return {
    status: 503,
    code: 'subset_too_large',
    type: 'server_error',
    message: `The gateway asks for one of more than ${limit} endpoints.`,
    droppedReason: 'rejected-no-endpoints',
  }
}

/** `Prefer: if-available`. */
export function notCached(): OpenAiProblem {
  return invalid(412, 'not_cached', 'The chosen endpoint does not have the beginning of this prompt in its cache.')
}

export function noParser(path: string): OpenAiProblem {
  return invalid(400, 'no_parser', `No parser of the pool reads requests for the path ${shown(path)}.`)
}

export function invalidField(api: string, name: string, must: string): OpenAiProblem {
  return invalid(400, 'invalid_field', `Invalid ${api} request: \`${name}\` must be ${must}.`, name)
}

export function saturated(): OpenAiProblem {
  return {
    status: 429,
    code: 'saturated',
    type: 'rate_limit_error',
    message: 'All endpoints are saturated; try again later.',
    droppedReason: 'rejected-saturated',
  }
}

export function filtered(): OpenAiProblem {
  return {
    status: 429,
    code: 'filtered',
    type: 'rate_limit_error',
    message: 'None of the endpoints passes the filters of the pool.',
    droppedReason: 'rejected-saturated',
  }
}

export function unknownProfile(): OpenAiProblem {
  return {
    status: 429,
    code: 'unknown_profile',
    type: 'rate_limit_error',
    message: 'The request asks for a scheduling profile that the pool does not have.',
  }
}

export function overloaded(): OpenAiProblem {
  return {
    status: 503,
    code: 'overloaded',
    type: 'server_error',
    message: 'The gateway is overloaded; try again later.',
    droppedReason: 'rejected-saturated',
  }
}
