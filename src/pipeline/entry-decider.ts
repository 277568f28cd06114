import type { IncomingMessage } from '../extproc/decode-request.ts'
import { type Decider, Refusal, Verdict } from '../extproc/decider.ts'
import { DESTINATION_ENDPOINT } from '../extproc/encode-response.ts'
import { type Exchange, RequestState } from '../extproc/exchange.ts'
import { headerName } from '../extproc/header-view.ts'
import { metadataStrings } from '../extproc/metadata.ts'
import { PickStatus } from '../inference/pool.ts'
import {
  bodyTooLarge,
  missingModel,
  modelNotFound,
  noBackend,
  noEndpoints,
  type OpenAiProblem,
  overloaded,
  routeNotFound,
  saturated,
  unsupportedMediaType,
  uploadTimeout,
} from '../llm/openai-error.ts'
import { answerModels, answerProblem } from './answers.ts'
import { BodyKind } from './body-facts.ts'
import { bodyKindOf, contentType } from './body-kind.ts'
import { Call } from './call.ts'
import type { LinkedPool } from './linked-pool.ts'
import type { Outcomes } from './outcomes.ts'
import { type EntryPlan, type RoutingPlan, TARGET_HEADER } from './plan.ts'
import { recordText } from './record-text.ts'
import { canPutModel, putModel, rewriteModel } from './rewrite.ts'
import { chooseTarget, linkRule, matchesModel, matchesRequest, pathLength, type LinkedTarget } from './rules.ts'

const METHOD = headerName(':method')
const PATH = headerName(':path')
const SUBSET_NAMESPACE = 'envoy.lb.subset_hint'
const SUBSET_KEY = 'x-gateway-destination-endpoint-subset'
const LB_NAMESPACE = 'envoy.lb'
const SERVED_KEY = 'x-gateway-destination-endpoint-served'
const MODELS_PATH = '/v1/models'
const MAX_POOLED_CALLS = 1024

interface Target extends LinkedTarget {
  readonly pool: LinkedPool | undefined
}

/** What a thread's deciders share. */
export interface DeciderContext {
  readonly routing: Pick<RoutingPlan, 'modelHeader' | 'baseModelHeader'>
  /** `RoutingPlan.baseModels`: a map, because models are named by clients, who know `constructor` and `__proto__`. */
  readonly baseModels: ReadonlyMap<string, string>
  readonly outcomes: Outcomes
  /** Wall clock, ms: the clock of scrapes. */
  readonly nowMs: () => number
  /** [0, 1) */
  readonly random: () => number
  /** Call records that are free. */
  readonly calls: Call[]
}

/**
 * Decides the requests of one entry: parse → resolve model → route → pick (the later stages of the corridor have their place
 * between them). One object per entry plan and thread; the record of a request is its `Call`.
 */
export class EntryDecider implements Decider {
  readonly plan: EntryPlan
  readonly maxBodyBytes: number
  readonly messageTimeoutMs: number
  readonly uploadTimeoutMs: number
  readonly uploadIdleMs: number
  readonly followsResponse: boolean
  readonly retryBufferBytes: number
  readonly mayRewrite: boolean
  readonly #context: DeciderContext
  readonly #rules
  readonly #pools: readonly LinkedPool[]
  readonly #prefixBlockBytes: number
  /** Some rule needs a model: a body that cannot be read is then worth a word of its own. */
  readonly #readsBody: boolean
  readonly #fleet: boolean

  /** @throws Error when the plan names a pool that `pools` lacks, or has a pattern that is no regular expression */
  constructor(plan: EntryPlan, pools: ReadonlyMap<string, LinkedPool>, context: DeciderContext) {
    this.plan = plan
    this.maxBodyBytes = plan.maxBodyBytes
    this.messageTimeoutMs = plan.messageTimeoutMs
    this.uploadTimeoutMs = plan.uploadTimeoutMs
    this.uploadIdleMs = plan.uploadIdleMs
    this.followsResponse = plan.followResponse
    this.retryBufferBytes = plan.retryBufferBytes
    this.#context = context
    this.#rules = plan.rules.map(rule =>
      linkRule<Target>(rule, target => {
        const pool = target.pool === undefined ? undefined : pools.get(target.pool)
        if (target.pool !== undefined && pool === undefined)
          throw new Error(`entry ${plan.name}: no pool ${target.pool}`)
        return { plan: target, pool }
      }),
    )
    const used = new Set<LinkedPool>()
    for (const rule of this.#rules)
      for (const target of rule.targets) if (target.pool !== undefined) used.add(target.pool)
    this.#pools = [...used]
    this.mayRewrite = this.#pools.some(({ plan }) => plan.rewrites.length > 0)
    this.#prefixBlockBytes = this.#pools[0]?.plan.scheduling.prefixBlockBytes ?? 512
    this.#readsBody = plan.body !== 'none' && (plan.model !== 'none' || plan.prefixBytes > 0)
    this.#fleet = plan.attach === 'fleet'
  }

  requestHeaders(x: Exchange, message: IncomingMessage, bodyComes: boolean): Verdict {
    const call = this.#context.calls.pop() ?? new Call()
    x.call = call
    const { headers } = x
    call.headers = headers
    call.method = headers.get(METHOD) ?? ''
    call.path = headers.get(PATH) ?? ''
    this.requestMetadata(x, message)
    if (this.plan.listModels && call.method === 'GET' && isModelsPath(call.path)) return this.#listModels(x)
    if (!bodyComes || !this.#readsBody) return this.#decide(x, call)
    const kind = bodyKindOf(headers)
    if (kind === BodyKind.NONE) {
      call.unreadable = true
      return this.#decide(x, call)
    }
    const multipart = kind === BodyKind.MULTIPART
    // A form has no prompt that we read.
    if (multipart && this.plan.model === 'none') return this.#decide(x, call)
    const type = multipart ? contentType(headers) : ''
    call.facts.begin(kind, this.plan.model, this.plan.prefixBytes, this.#prefixBlockBytes, type)
    return call.facts.problem === undefined ? Verdict.MORE : this.#refuse(x, call.facts.problem)
  }

  requestMetadata(x: Exchange, message: IncomingMessage): void {
    if (message.metadataStart < 0 || message.bytes === undefined) return
    const subset = metadataStrings(
      message.bytes,
      message.metadataStart,
      message.metadataEnd,
      SUBSET_NAMESPACE,
      SUBSET_KEY,
    )
    if (subset !== undefined) (x.call as Call).subset = subset
  }

  requestBody(x: Exchange, bytes: Buffer, start: number, end: number): Verdict {
    const call = x.call as Call
    return call.facts.feed(bytes, start, end) ? this.#decide(x, call) : Verdict.MORE
  }

  requestEnd(x: Exchange): Verdict {
    const call = x.call as Call
    call.facts.end()
    return this.#decide(x, call)
  }

  refuse(x: Exchange, refusal: Refusal): void {
    const call = x.call as Call | undefined
    if (call !== undefined) {
      // The refusal overtakes a decision that was not sent yet; of one that was sent, access log or response tell.
      if (x.requestState === RequestState.UNDECIDED) this.#withdraw(call)
      if (call.facts.hasBody) this.#recordModel(x, call.facts.model)
    }
    const { maxBodyBytes } = this
    const problem =
      refusal === Refusal.BODY_TOO_LARGE
        ? bodyTooLarge(maxBodyBytes)
        : refusal === Refusal.UPLOAD_TIMEOUT
          ? uploadTimeout()
          : overloaded()
    this.#refuse(x, problem)
  }

  /** A retry may have gone to another endpoint than the picked one: the data plane tells which one serves. */
  responseHeaders(x: Exchange, message: IncomingMessage): void {
    const call = x.call as Call | undefined
    if (call === undefined) return
    call.responseSeen = true
    if (call.counted === undefined || message.metadataStart < 0 || message.bytes === undefined) return
    const { bytes, metadataStart, metadataEnd } = message
    const address = metadataStrings(bytes, metadataStart, metadataEnd, LB_NAMESPACE, SERVED_KEY)?.[0]
    if (address !== undefined && call.counted.served(call.picked, address, this.#fleet))
      this.#context.outcomes.fellBack++
  }

  responseEnd(x: Exchange): void {
    this.#giveBack(x.call as Call | undefined)
  }

  closed(x: Exchange): void {
    const call = x.call as Call | undefined
    if (call === undefined) return
    if (x.requestState === RequestState.UNDECIDED) this.#withdraw(call)
    // A stream that is followed ends with its response; any other leaves the count to access log or scrape.
    else if (this.followsResponse && call.responseSeen) this.#giveBack(call)
    // The gateway sends us no responses: the request is only just on its way.
    else if (this.followsResponse) call.counted?.releaseOnceSeen(call.picked.slots[0]!, call.picked.generations[0]!)
    call.clear()
    const { calls } = this.#context
    if (calls.length < MAX_POOLED_CALLS) calls.push(call)
  }

  /** The response is over. */
  #giveBack(call: Call | undefined): void {
    if (call?.counted === undefined) return
    // Our own Envoys' access log tells, where it is on; nobody else's does.
    if (!this.#fleet) return this.#withdraw(call)
    call.counted.release(call.picked.slots[0]!, call.picked.generations[0]!)
    call.counted = undefined
  }

  /** No access log entry will tell of the pick. */
  #withdraw(call: Call): void {
    call.counted?.releaseUnlogged(call.picked.slots[0]!, call.picked.generations[0]!)
    call.counted = undefined
  }

  /** A line of the decision record: our own fleet's only, where the access log reads it. */
  #record(x: Exchange, name: string, value: string): void {
    if (this.#fleet) x.decision.record(name, value)
  }

  #recordModel(x: Exchange, model: string | undefined): void {
    if (model !== undefined) this.#record(x, 'model', recordText(model))
  }

  /** All facts are final. */
  #decide(x: Exchange, call: Call): Verdict {
    const { facts } = call
    if (facts.problem !== undefined) return this.#refuse(x, facts.problem)
    call.model = facts.model
    call.baseModel = call.model === undefined ? undefined : this.#context.baseModels.get(call.model)
    this.#recordModel(x, call.model)
    let modelMissed = false
    for (const rule of this.#rules) {
      if (!matchesRequest(rule, call)) continue
      if (!matchesModel(rule, call)) {
        modelMissed = true
        continue
      }
      this.#record(x, 'route', rule.plan.name)
      const target = chooseTarget(rule, this.#context.random())
      if (target === undefined) return this.#refuse(x, noBackend())
      return this.#route(x, call, target)
    }
    if (!modelMissed) return this.#refuse(x, routeNotFound())
    if (call.model !== undefined) return this.#refuse(x, modelNotFound(call.model))
    if (call.unreadable) return this.#refuse(x, unsupportedMediaType())
    // A POST of nothing lacks a model, however it is framed; what has no body by its nature is just nowhere at home.
    return this.#refuse(x, facts.hasBody || call.method === 'POST' ? missingModel() : routeNotFound())
  }

  #route(x: Exchange, call: Call, target: Target): Verdict {
    const { decision } = x
    const { pool } = target
    if (pool !== undefined) {
      const problem = this.#pick(x, call, pool)
      if (problem !== undefined) return this.#refuse(x, problem)
    }
    this.#modelHeaders(x, call)
    if (this.#fleet) {
      decision.set(TARGET_HEADER, target.plan.id)
      if (target.plan.unretriedId !== undefined) {
        decision.unretriedIndex = decision.setNames.length - 1
        decision.unretriedValue = target.plan.unretriedId
      }
      if (pool === undefined) this.#record(x, 'reason', 'route')
    }
    decision.clearRouteCache =
      decision.setNames.length > 0 || decision.removeNames.length > 0 || decision.endpoints !== ''
    this.#context.outcomes.routed(target.plan.cluster)
    return Verdict.DECIDED
  }

  #pick(x: Exchange, call: Call, { pool, plan }: LinkedPool): OpenAiProblem | undefined {
    const { decision } = x
    const { model } = call
    const { pick, facts } = call
    this.#record(x, 'pool', plan.name)
    // What cannot be read can neither be rewritten nor checked.
    if (call.unreadable && (plan.rewrites.length > 0 || plan.rejectUnknownModels)) return unsupportedMediaType()
    const rewritten = canPutModel(facts) ? rewriteModel(plan.rewrites, model, this.#context.random()) : undefined
    if (
      model !== undefined &&
      rewritten === undefined &&
      plan.rejectUnknownModels &&
      pool.allListed &&
      !pool.knows(model)
    ) {
      pool.relist()
      return modelNotFound(model)
    }
    pick.model = rewritten ?? model ?? ''
    pick.prefix = facts.hasBody && this.plan.prefixBytes > 0 ? facts.hasher : undefined
    pick.promptBytes = facts.promptBytes
    pick.subset = call.subset
    pick.nowMs = this.#context.nowMs()
    const status = pool.pick(pick, call.picked)
    if (status === PickStatus.OK) {
      call.counted = pool
      decision.endpoints = pool.addresses(call.picked)
      decision.endpointHeader = !this.#fleet
      this.#record(x, 'endpoint', pool.addressOf(call.picked.slots[0]!))
      this.#record(x, 'reason', call.picked.reason)
    } else if (status === PickStatus.SATURATED) {
      return saturated()
    } else if (call.subset !== undefined || !plan.failOpen) {
      return noEndpoints()
    } else {
      // The data plane balances by itself; a client must not do it in our place.
      if (!this.#fleet) decision.removeNames.push(DESTINATION_ENDPOINT)
      this.#record(x, 'reason', 'fail-open')
    }
    if (rewritten !== undefined && rewritten !== model) {
      this.#record(x, 'served_model', recordText(rewritten))
      decision.replacements.push(putModel(facts, rewritten))
    }
    return undefined
  }

  /** `model` and its base model as headers, as body-based routers give them; what a client forged goes. */
  #modelHeaders(x: Exchange, call: Call): void {
    const { modelHeader, baseModelHeader } = this.#context.routing
    const { decision } = x
    if (call.model === undefined) {
      // Our own fleet removed them before they came here.
      if (!this.#fleet) decision.removeNames.push(modelHeader, baseModelHeader)
      return
    }
    decision.set(modelHeader, call.model)
    decision.set(baseModelHeader, call.baseModel ?? '')
  }

  #listModels(x: Exchange): Verdict {
    answerModels(x.decision, this.#pools)
    this.#record(x, 'reason', 'model_list')
    this.#context.outcomes.answered('model_list')
    return Verdict.DECIDED
  }

  #refuse(x: Exchange, problem: OpenAiProblem): Verdict {
    answerProblem(x.decision, problem)
    this.#record(x, 'reason', problem.code)
    this.#context.outcomes.refused(problem.code)
    return Verdict.DECIDED
  }
}

function isModelsPath(path: string): boolean {
  return path.startsWith(MODELS_PATH) && pathLength(path) === MODELS_PATH.length
}
