import { FlowOutcome } from '../inference/flow-control/flow-outcome.ts'
import type { OpenAiProblem } from '../llm/openai-error.ts'

/** What a queue calls it that a request goes on, or has this problem; `waited`: it was in the queue. */
export function queueOutcome(problem: OpenAiProblem | undefined, waited: boolean): FlowOutcome {
  switch (problem?.code) {
    case undefined:
      return FlowOutcome.DISPATCHED
    case 'queue_full':
      return FlowOutcome.REJECTED_CAPACITY
    case 'queue_timeout':
      return FlowOutcome.EVICTED_TTL
    case 'no_endpoints':
      return waited ? FlowOutcome.EVICTED_NO_ENDPOINTS : FlowOutcome.REJECTED_NO_ENDPOINTS
    default:
      return waited ? FlowOutcome.EVICTED_OTHER : FlowOutcome.REJECTED_OTHER
  }
}
