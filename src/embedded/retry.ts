/** When a request goes to another endpoint: Envoy's `retry_policy` as far as compiled configurations use it. */

export interface RetryRules {
  readonly conditions: ReadonlySet<RetryCondition>
  /** Additional attempts. */
  readonly retries: number
  readonly statusCodes: ReadonlySet<number>
  /** 0 = none. */
  readonly perTryTimeoutMs: number
  readonly backOffMs: number
  readonly maxBackOffMs: number
  /** How often an endpoint that was tried already is drawn again; 0: it may be taken at once. */
  readonly avoidsTried: number
}

const CONDITIONS = [
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'refused-stream',
  'retriable-4xx',
  'retriable-status-codes',
] as const
export type RetryCondition = (typeof CONDITIONS)[number]

export function isRetryCondition(text: string): text is RetryCondition {
  return (CONDITIONS as readonly string[]).includes(text)
}

/** How an attempt failed before any byte of a response was seen. */
export type AttemptFailure = 'connect-failure' | 'refused-stream' | 'reset' | 'per-try-timeout'

/** True when the rules ask for another attempt after such a failure. `requestSent`: bytes of the request left for the peer. */
export function retriesFailure(rules: RetryRules, failure: AttemptFailure, requestSent: boolean): boolean {
  const on = rules.conditions
  // Envoy counts every failure without a response as a 5xx.
  if (on.has('5xx')) return true
  if (failure === 'per-try-timeout') return on.has('gateway-error')
  if (failure === 'connect-failure')
    return on.has('connect-failure') || on.has('reset') || on.has('gateway-error') || on.has('reset-before-request')
  if (failure === 'refused-stream') return on.has('refused-stream') || on.has('reset')
  return on.has('reset') || (on.has('reset-before-request') && !requestSent)
}

export function retriesStatus(rules: RetryRules, status: number): boolean {
  const on = rules.conditions
  if (on.has('5xx') && status >= 500) return true
  if (on.has('gateway-error') && status >= 502 && status <= 504) return true
  if (on.has('retriable-4xx') && status === 409) return true
  return on.has('retriable-status-codes') && rules.statusCodes.has(status)
}

/** Fully jittered exponential back-off before attempt `attempt` (2 = the first retry), milliseconds. `random` in [0, 1). */
export function backOffMs(rules: RetryRules, attempt: number, random: number): number {
  return Math.min(rules.maxBackOffMs, rules.backOffMs * (2 ** (attempt - 1) - 1)) * random
}
