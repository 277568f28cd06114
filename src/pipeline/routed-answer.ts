import { type Decision, DESTINATION_ENDPOINT } from '../extproc/decision.ts'
import type { Exchange } from '../extproc/exchange.ts'
import { prepareAnswer } from '../extproc/prepared-answer.ts'
import { REPORT_FORMAT, REPORT_FORMAT_HEADER } from '../inference/load-report.ts'
import type { Call } from './call.ts'
import { type RoutingPlan, TARGET_HEADER } from './plan.ts'
import { recordText } from './record-text.ts'
import { stageHeaders } from './stage-headers.ts'
import { expectServed } from './served-header.ts'
import type { Target } from './target.ts'

type HeaderNames = Pick<RoutingPlan, 'modelHeader' | 'baseModelHeader'>

/**
 * Fills the decision of a request that goes to `target`, from what `call` says of its model and its pick. Nearly always the answer
 * was encoded before, for another request with the same model and endpoints.
 */
export function routeTo(x: Exchange, call: Call, target: Target, names: HeaderNames, fleet: boolean): void {
  const { decision } = x
  // A rewrite changes content-length too; an answer to a buffered body carries more than headers.
  const plain = call.forged.length === 0 && call.told.length === 0 && decision.scores.length === 0
  const prepares = plain && call.rewritten === undefined && !x.headersAnswered
  // Only our own fleet is told the reason.
  const reason = fleet ? call.reason : ''
  if (prepares) {
    decision.prepared = target.answers.find(call.model, call.endpoints, reason)
    if (decision.prepared !== undefined) return
  }
  if (fleet) writeRecord(decision, call, target)
  // The data plane balances by itself; a client must not do it in our place.
  else if (target.pool !== undefined && call.endpoints === '') decision.removeNames.push(DESTINATION_ENDPOINT)
  if (!plain) stageHeaders(decision, call)
  modelHeaders(decision, call, names, fleet)
  if (target.pool?.plan.scrape.orca === true) decision.set(REPORT_FORMAT_HEADER, REPORT_FORMAT)
  if (target.pool?.plan.scheduling.tellsServed === true) expectServed(decision, call.endpoints)
  if (fleet) {
    decision.set(TARGET_HEADER, target.plan.id)
    if (target.plan.unretriedId !== undefined) {
      decision.unretriedIndex = decision.setNames.length - 1
      decision.unretriedValue = target.plan.unretriedId
    }
  }
  decision.endpoints = call.endpoints
  decision.endpointHeader = !fleet
  decision.clearRouteCache =
    decision.setNames.length > 0 || decision.removeNames.length > 0 || decision.endpoints !== ''
  if (prepares) {
    decision.prepared = prepareAnswer(decision)
    target.answers.keep(call.model, call.endpoints, reason, decision.prepared)
  }
}

/** The line of the decision record. */
function writeRecord(decision: Decision, call: Call, target: Target): void {
  const { model, rewritten, endpoints, rank } = call
  if (model !== undefined) decision.record('model', recordText(model))
  decision.record('route', target.rule)
  if (target.pool !== undefined) decision.record('pool', target.pool.plan.name)
  if (rank !== '') decision.record('endpoint', rank)
  else if (endpoints !== '') {
    const comma = endpoints.indexOf(',')
    decision.record('endpoint', comma < 0 ? endpoints : endpoints.slice(0, comma))
  }
  decision.record('reason', call.reason)
  if (rewritten !== undefined) decision.record('served_model', recordText(rewritten))
}

/** `model` and its base model as headers, as body-based routers give them; what a client forged goes. */
function modelHeaders(decision: Decision, call: Call, names: HeaderNames, fleet: boolean): void {
  const { modelHeader, baseModelHeader } = names
  if (call.model !== undefined) {
    decision.set(modelHeader, call.model)
    decision.set(baseModelHeader, call.baseModel ?? '')
  } else if (!fleet) {
    // Our own fleet removed them before they came here.
    decision.removeNames.push(modelHeader, baseModelHeader)
  }
}
