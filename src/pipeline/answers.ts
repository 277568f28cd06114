import type { Decision } from '../extproc/decision.ts'
import { DROPPED_REASON } from '../inference/control-headers.ts'
import { type OpenAiProblem, openAiErrorBody } from '../llm/openai-error.ts'
import { modelListBody } from './model-list.ts'

/** Answers of our own instead of an upstream's. They write over whatever was to be done with the request, not over its record. */

export function answerProblem(decision: Decision, problem: OpenAiProblem): void {
  forgetRequest(decision)
  decision.immediateStatus = problem.status
  decision.immediateBody = openAiErrorBody(problem)
  decision.immediateDetails = `signalbox_${problem.code}`
  decision.set('content-type', 'application/json')
  if (problem.droppedReason !== undefined) decision.set(DROPPED_REASON, problem.droppedReason)
  if (problem.status === 429 || problem.status === 503) decision.set('retry-after', '1')
}

export function answerModels(decision: Decision, models: Parameters<typeof modelListBody>): void {
  forgetRequest(decision)
  decision.immediateStatus = 200
  decision.immediateBody = modelListBody(...models)
  decision.immediateDetails = 'signalbox_model_list'
  decision.set('content-type', 'application/json')
}

function forgetRequest(decision: Decision): void {
  decision.setNames.length = 0
  decision.setValues.length = 0
  decision.removeNames.length = 0
  decision.replacements.length = 0
  decision.endpoints = ''
  decision.endpointHeader = false
  decision.clearRouteCache = false
  decision.unretriedIndex = -1
  decision.prepared = undefined
}
