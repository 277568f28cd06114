import type { Exchange } from '../extproc/exchange.ts'
import { Admitted } from '../inference/flow-control/admission.ts'
import { Entering, type FlowControl } from '../inference/flow-control/flow-control.ts'
import { FlowEntry, type FlowRequest } from '../inference/flow-control/flow-entry.ts'
import { FlowOutcome } from '../inference/flow-control/flow-outcome.ts'
import type { PoolGate } from '../inference/flow-control/pool-gate.ts'
import { fairnessIdOf, priorityOf, timeoutOf, ttftTargetOf } from '../inference/flow-control/request-terms.ts'
import type { OpenAiProblem } from '../llm/openai-error.ts'
import {
  notAdmitted,
  poolFull,
  poolGone,
  queueFull,
  queueTimeout,
  queueTimeoutWithoutEndpoints,
  shed,
  shuttingDown,
} from '../llm/queue-errors.ts'
import { CallLease } from './call-lease.ts'
import type { Call } from './call.ts'

/** How a request goes on once it has waited. Both fill the exchange's decision. */
export interface Continuation {
  send(): void
  drop(problem: OpenAiProblem): void
}

/** It waits: the continuation decides. */
export const WAITS = 'waits'

/**
 * Before a request is placed in a pool whose gate is not open: undefined lets it go on at once, a problem refuses it. `maxWaitMs`: as
 * long as the data plane waits for us, 0 = not known.
 */
export function enterPool(
  gate: PoolGate,
  x: Exchange,
  call: Call,
  continuation: Continuation,
  maxWaitMs: number,
  nowMs: number,
): OpenAiProblem | typeof WAITS | undefined {
  const { flow, admission } = gate
  const { headers } = call
  const priority = priorityOf(headers, gate.objectives)
  if (flow === undefined) {
    if (gate.limit?.isReached === true) return poolFull()
    const admitted = admission?.admit(priority, nowMs)
    return admitted === Admitted.SATURATED ? shed() : admitted === Admitted.DENIED ? notAdmitted() : undefined
  }
  const request: FlowRequest = {
    priority,
    fairnessId: fairnessIdOf(headers, gate.agentHeaders),
    // What has come, and is held while it waits: a length that was only announced takes no room from others.
    bytes: Math.max(x.bodyBytes, 0),
    timeoutMs: Math.min(timeoutOf(headers), maxWaitMs > 0 ? maxWaitMs : Number.POSITIVE_INFINITY),
    ttftTargetMs: ttftTargetOf(headers),
  }
  const waiting = new WaitingCall(request, flow, x, continuation)
  const entering = flow.enter(waiting)
  if (flow.wantsUsage) {
    const { fairnessId, bytes } = request
    call.owner = { flow, priority, fairnessId, countedBytes: entering === Entering.WAITS ? bytes : 0 }
  }
  // A stream that closes at the decision can tell nothing any more.
  if (flow.evictor !== undefined && x.decider.followsResponse)
    call.lease = new CallLease(priority, flow.evictor, x, problem => continuation.drop(problem))
  if (entering === Entering.NOW) return undefined
  if (entering === Entering.FULL) return queueFull()
  if (entering === Entering.CLOSED) return shuttingDown()
  call.waiting = waiting
  return WAITS
}

/** A call whose exchange has deferred its decision. */
export class WaitingCall extends FlowEntry {
  readonly #flow: FlowControl
  readonly #x: Exchange
  readonly #serial: number
  readonly #continuation: Continuation

  constructor(request: FlowRequest, flow: FlowControl, x: Exchange, continuation: Continuation) {
    super(request)
    this.#flow = flow
    this.#x = x
    this.#serial = x.serial
    this.#continuation = continuation
  }

  /** The stream is over, or was refused for another reason. */
  cancel(): void {
    this.#flow.cancel(this)
  }

  dispatched(): void {
    this.#x.resume(this.#serial, () => this.#continuation.send())
  }

  refused(outcome: FlowOutcome): void {
    this.#x.resume(this.#serial, () => this.#continuation.drop(problemOf(outcome, this.#flow)))
  }
}

function problemOf(outcome: FlowOutcome, { isClosed }: FlowControl): OpenAiProblem {
  switch (outcome) {
    case FlowOutcome.EVICTED_TTL:
      return queueTimeout()
    case FlowOutcome.EVICTED_NO_ENDPOINTS:
      return isClosed ? poolGone() : queueTimeoutWithoutEndpoints()
    default:
      return shuttingDown()
  }
}
