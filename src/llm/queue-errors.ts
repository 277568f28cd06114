import type { OpenAiProblem } from './openai-error.ts'

/** Refusals of requests with which nothing is wrong, for want of room: epp.md §1.4. */

export function queueFull(): OpenAiProblem {
  return {
    status: 429,
    code: 'queue_full',
    type: 'rate_limit_error',
    message: 'Too many requests wait already; try again later.',
    droppedReason: 'rejected-saturated',
  }
}

/** As many requests as the pool may have are on their way (`signalbox.dev/max-in-flight`). */
export function poolFull(): OpenAiProblem {
  return {
    status: 429,
    code: 'pool_full',
    type: 'rate_limit_error',
    message: 'The pool has as many requests as it may have at once; try again later.',
    droppedReason: 'rejected-saturated',
  }
}

/** It was sent on, and called back. */
export function evicted(): OpenAiProblem {
  return {
    status: 429,
    code: 'evicted',
    type: 'rate_limit_error',
    message: 'The request has made room for others of higher priority; try again later.',
    droppedReason: 'evicted',
  }
}

export function queueTimeout(): OpenAiProblem {
  return {
    status: 429,
    code: 'queue_timeout',
    type: 'rate_limit_error',
    message: 'The request has waited too long for a free endpoint; try again later.',
    droppedReason: 'rejected-ttl-expired',
  }
}

export function queueTimeoutWithoutEndpoints(): OpenAiProblem {
  return {
    status: 503,
    code: 'no_endpoints',
    type: 'server_error',
    message: 'The request has waited too long, and no endpoint is ready to serve it.',
    droppedReason: 'rejected-no-endpoints',
  }
}

export function poolGone(): OpenAiProblem {
  return {
    status: 503,
    code: 'no_endpoints',
    type: 'server_error',
    message: 'The pool that the request waited for is not there any more.',
    droppedReason: 'rejected-no-endpoints',
  }
}

export function shuttingDown(): OpenAiProblem {
  return {
    status: 503,
    code: 'shutting_down',
    type: 'server_error',
    message: 'The gateway is shutting down; try again.',
    droppedReason: 'rejected-shutting-down',
  }
}

/** Priority below 0, and the pool is saturated. */
export function shed(): OpenAiProblem {
  return {
    status: 429,
    code: 'shed',
    type: 'rate_limit_error',
    message: 'All endpoints are saturated, and requests of this priority are dropped then; try again later.',
    droppedReason: 'rejected-saturated',
  }
}

/** An admission plug-in says no. The protocol has 429 for what is shed (epp.md §1.1); llm-d answers 500. */
export function notAdmitted(): OpenAiProblem {
  return {
    status: 429,
    code: 'not_admitted',
    type: 'rate_limit_error',
    message: 'The request cannot be admitted: the load is too high for its priority; try again later.',
    droppedReason: 'rejected-saturated',
  }
}
