/** Codes of our errors → the code that llm-d's metrics have for such an error. Those that are not here are the client's fault. */
const CODES: Readonly<Record<string, string>> = {
  model_server_error: 'ModelServerError',
  no_endpoints: 'ServiceUnavailable',
  overloaded: 'ServiceUnavailable',
  shutting_down: 'ServiceUnavailable',
  saturated: 'ResourceExhausted',
  filtered: 'ResourceExhausted',
  unknown_profile: 'ResourceExhausted',
  queue_full: 'ResourceExhausted',
  queue_timeout: 'ResourceExhausted',
  evicted: 'ResourceExhausted',
  shed: 'ResourceExhausted',
  not_admitted: 'ResourceExhausted',
  not_cached: 'PreconditionFailed',
  no_backend: 'Internal',
}

export function errorCodeOf(code: string): string {
  return Object.hasOwn(CODES, code) ? CODES[code]! : 'BadRequest'
}
