import type { OpenAiProblem } from './openai-error.ts'

/** What a data plane refuses by itself, without a decision of ours: worded here, so that clients see one kind of error. */

function serverError(status: number, code: string, message: string): OpenAiProblem {
  return { status, code, type: 'server_error', message }
}

function invalidRequest(status: number, code: string, message: string): OpenAiProblem {
  return { status, code, type: 'invalid_request_error', message }
}

/** Nobody decided: the decision service is away, drains, or failed. */
export function decisionUnavailable(): OpenAiProblem {
  return serverError(
    503,
    'decision_unavailable',
    'The gateway cannot decide about requests right now; try again later.',
  )
}

export function decisionTimeout(): OpenAiProblem {
  return serverError(504, 'decision_timeout', 'The gateway did not decide about this request in time.')
}

/** The request stayed on its entry route, or its target is gone: a moment between two configurations. */
export function undecided(): OpenAiProblem {
  return serverError(503, 'undecided', 'The gateway has not decided where this request goes; try again.')
}

export function endpointUnavailable(): OpenAiProblem {
  return serverError(
    503,
    'endpoint_unavailable',
    'The endpoint could not be reached, or broke the connection before it answered.',
  )
}

export function endpointTimeout(): OpenAiProblem {
  return serverError(504, 'endpoint_timeout', 'The endpoint did not answer in time.')
}

export function streamTimeout(): OpenAiProblem {
  return serverError(504, 'stream_timeout', 'Nothing was sent or received for too long.')
}

export function gatewayError(): OpenAiProblem {
  return serverError(500, 'gateway_error', 'The gateway could not serve this request.')
}

export function badRequest(): OpenAiProblem {
  return invalidRequest(400, 'bad_request', 'The gateway does not accept this HTTP request.')
}

export function upgradeRefused(): OpenAiProblem {
  return invalidRequest(403, 'upgrade_refused', 'The gateway does not upgrade connections.')
}

export function methodNotAllowed(): OpenAiProblem {
  return invalidRequest(405, 'method_not_allowed', 'The gateway does not pass on this method.')
}

/** Envoy's own limits. The cap of `SignalboxParameters` is `bodyTooLarge`, which knows its number. */
export function requestTooLarge(): OpenAiProblem {
  return invalidRequest(413, 'request_too_large', 'The request body is too large.')
}

export function headersTooLarge(): OpenAiProblem {
  return invalidRequest(431, 'headers_too_large', 'The request headers are too large.')
}
