import { jsonString } from '../body/splice.ts'
import type { IncomingMessage } from '../extproc/decode-request.ts'
import { type Decider, Refusal, Verdict } from '../extproc/decider.ts'
import { DESTINATION_ENDPOINT } from '../extproc/encode-response.ts'
import type { Exchange } from '../extproc/exchange.ts'
import { headerName } from '../extproc/header-view.ts'
import { metadataStrings } from '../extproc/metadata.ts'
import { PickStatus, type Pool } from '../inference/pool.ts'
import {
  bodyTooLarge,
  missingModel,
  modelNotFound,
  noBackend,
  noEndpoints,
  type OpenAiProblem,
  openAiErrorBody,
  overloaded,
  routeNotFound,
  saturated,
  unsupportedMediaType,
  uploadTimeout,
} from '../llm/openai-error.ts'
import { BodyKind } from './body-facts.ts'
import { Call } from './call.ts'
import { modelListBody } from './model-list.ts'
import type { Outcomes } from './outcomes.ts'
import { type EntryPlan, type RoutingPlan, TARGET_HEADER } from './plan.ts'
import { rewriteModel } from './rewrite.ts'
import { chooseTarget, linkRule, matchesModel, matchesRequest, pathLength, type LinkedTarget } from './rules.ts'

const METHOD = headerName(':method')
const PATH = headerName(':path')
const CONTENT_TYPE = headerName('content-type')
const SUBSET_NAMESPACE = 'envoy.lb.subset_hint'
const SUBSET_KEY = 'x-gateway-destination-endpoint-subset'
const MODELS_PATH = '/v1/models'
const JSON_BYTES = Buffer.from('application/json')
const MULTIPART_BYTES = Buffer.from('multipart/form-data')
const MAX_POOLED_CALLS = 1024

interface Target extends LinkedTarget {
  readonly pool: Pool | undefined
}

/** What a thread's deciders share. */
export interface DeciderContext {
  readonly routing: RoutingPlan
  readonly outcomes: Outcomes
  /** Wall clock, ms: the clock of scrapes. */
  readonly nowMs: () => number
  /** [0, 1) */
  readonly random: () => number
}

const calls: Call[] = []

/**
 * Decides the requests of one entry: parse → resolve model → route → pick (the later stages of the corridor have their place
 * between them). One object per entry plan and thread; the record of a request is its `Call`.
 */
export class EntryDecider implements Decider {
  readonly plan: EntryPlan
  readonly maxBodyBytes: number
  readonly messageTimeoutMs: number
  readonly uploadTimeoutMs: number
  readonly followsResponse: boolean
  readonly retryBufferBytes: number
  readonly mayRewrite: boolean
  readonly #context: DeciderContext
  readonly #rules
  readonly #pools: readonly Pool[]
  readonly #prefixBlockBytes: number
  /** Some rule needs a model: a body that cannot be read is then worth a word of its own. */
  readonly #readsBody: boolean
  readonly #fleet: boolean

  /** @throws Error when the plan names a pool that `pools` lacks, or has a pattern that is no regular expression */
  constructor(plan: EntryPlan, pools: ReadonlyMap<string, Pool>, context: DeciderContext) {
    this.plan = plan
    this.maxBodyBytes = plan.maxBodyBytes
    this.messageTimeoutMs = plan.messageTimeoutMs
    this.uploadTimeoutMs = plan.uploadTimeoutMs
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
    const used = new Set<Pool>()
    for (const rule of this.#rules)
      for (const target of rule.targets) if (target.pool !== undefined) used.add(target.pool)
    this.#pools = [...used]
    this.mayRewrite = this.#pools.some(pool => pool.plan.rewrites.length > 0)
    this.#prefixBlockBytes = this.#pools[0]?.plan.scheduling.prefixBlockBytes ?? 512
    this.#readsBody = plan.body !== 'none' && (plan.model !== 'none' || plan.prefixBytes > 0)
    this.#fleet = plan.attach === 'fleet'
  }

  requestHeaders(x: Exchange, message: IncomingMessage, bodyComes: boolean): Verdict {
    const call = calls.pop() ?? new Call()
    x.call = call
    const { headers } = x
    call.headers = headers
    call.method = headers.get(METHOD) ?? ''
    call.path = headers.get(PATH) ?? ''
    this.requestMetadata(x, message)
    if (this.plan.listModels && call.method === 'GET' && isModelsPath(call.path)) return this.#listModels(x)
    if (!bodyComes || !this.#readsBody) return this.#decide(x, call)
    const kind = this.#bodyKind(call)
    if (kind === BodyKind.NONE) {
      call.unreadable = true
      return this.#decide(x, call)
    }
    const contentType = kind === BodyKind.MULTIPART ? (headers.get(CONTENT_TYPE) ?? '') : ''
    call.facts.begin(kind, this.plan.model, this.plan.prefixBytes, this.#prefixBlockBytes, contentType)
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
    const { maxBodyBytes, uploadTimeoutMs } = this
    const problem =
      refusal === Refusal.BODY_TOO_LARGE
        ? bodyTooLarge(maxBodyBytes)
        : refusal === Refusal.UPLOAD_TIMEOUT
          ? uploadTimeout(uploadTimeoutMs)
          : overloaded()
    this.#refuse(x, problem)
  }

  responseHeaders(): void {}

  responseEnd(x: Exchange): void {
    this.#giveBack(x.call as Call | undefined)
  }

  closed(x: Exchange): void {
    const call = x.call as Call | undefined
    if (call === undefined) return
    // A stream that is followed ends with its response; any other leaves the count to access log or scrape.
    if (this.followsResponse) this.#giveBack(call)
    call.clear()
    if (calls.length < MAX_POOLED_CALLS) calls.push(call)
  }

  #giveBack(call: Call | undefined): void {
    if (call?.counted === undefined) return
    call.counted.release(call.picked.slots[0]!, call.picked.generations[0]!)
    call.counted = undefined
  }

  /** JSON unless it says that it is something else: `curl -d` calls JSON a form, and clients leave the type out. */
  #bodyKind(call: Call): BodyKind {
    const { headers } = call
    const index = headers.find(CONTENT_TYPE)
    if (index < 0 || headers.startsWith(index, JSON_BYTES)) return BodyKind.JSON
    if (headers.startsWith(index, MULTIPART_BYTES)) return BodyKind.MULTIPART
    const type = headers.value(index).toLowerCase()
    return /^(?:[^;]*\+json|text\/.*|application\/x-www-form-urlencoded)\s*(?:;|$)/.test(type)
      ? BodyKind.JSON
      : BodyKind.NONE
  }

  /** All facts are final. */
  #decide(x: Exchange, call: Call): Verdict {
    const { facts } = call
    const { decision } = x
    const { baseModels } = this.#context.routing
    const read = facts.hasBody
    if (read && facts.problem !== undefined) return this.#refuse(x, facts.problem)
    call.model = read ? facts.model : undefined
    call.baseModel = call.model === undefined ? undefined : baseModels[call.model]
    let modelMissed = false
    for (const rule of this.#rules) {
      if (!matchesRequest(rule, call)) continue
      if (!matchesModel(rule, call)) {
        modelMissed = true
        continue
      }
      const target = chooseTarget(rule, this.#context.random())
      if (target === undefined) return this.#refuse(x, noBackend())
      if (call.model !== undefined) decision.record('model', call.model)
      decision.record('route', rule.plan.name)
      return this.#route(x, call, target)
    }
    if (!modelMissed) return this.#refuse(x, routeNotFound())
    if (call.model !== undefined) return this.#refuse(x, modelNotFound(call.model))
    if (call.unreadable) return this.#refuse(x, unsupportedMediaType())
    // A POST of nothing lacks a model, however it is framed; what has no body by its nature is just nowhere at home.
    return this.#refuse(x, read || call.method === 'POST' ? missingModel() : routeNotFound())
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
      if (pool === undefined) decision.record('reason', 'route')
    } else {
      decision.recordNames.length = 0
      decision.recordValues.length = 0
    }
    decision.clearRouteCache = decision.setNames.length > 0 || decision.endpoints !== ''
    this.#context.outcomes.routed(target.plan.cluster)
    return Verdict.DECIDED
  }

  #pick(x: Exchange, call: Call, pool: Pool): OpenAiProblem | undefined {
    const { decision } = x
    const { model } = call
    if (
      model !== undefined &&
      pool.plan.rejectUnknownModels &&
      pool.allListed &&
      !pool.knows(model) &&
      rewriteModel(pool.plan.rewrites, model, 0) === undefined
    ) {
      pool.relist()
      return modelNotFound(model)
    }
    const rewritten = rewriteModel(pool.plan.rewrites, model, this.#context.random())
    const { pick, facts } = call
    pick.model = rewritten ?? model ?? ''
    pick.prefix = facts.hasBody && this.plan.prefixBytes > 0 ? facts.hasher : undefined
    pick.promptBytes = facts.hasBody ? facts.promptBytes : 0
    pick.subset = call.subset
    pick.nowMs = this.#context.nowMs()
    const status = pool.pick(pick, call.picked)
    decision.record('pool', pool.plan.name)
    if (status === PickStatus.OK) {
      call.counted = pool
      decision.endpoints = pool.addresses(call.picked)
      decision.endpointHeader = !this.#fleet
      decision.record('endpoint', pool.addressOf(call.picked.slots[0]!))
      decision.record('reason', call.picked.reason)
    } else if (status === PickStatus.SATURATED) {
      return saturated()
    } else if (call.subset !== undefined || !pool.plan.failOpen) {
      return noEndpoints()
    } else {
      // The data plane balances by itself; a client must not do it in our place.
      if (!this.#fleet) decision.removeNames.push(DESTINATION_ENDPOINT)
      decision.record('reason', 'fail-open')
    }
    if (rewritten !== undefined && rewritten !== model && facts.modelStart >= 0) {
      decision.record('served_model', rewritten)
      decision.replacements.push({
        start: facts.modelStart,
        end: facts.modelEnd,
        bytes: facts.isJson ? jsonString(rewritten) : Buffer.from(rewritten),
      })
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
    const { decision } = x
    decision.immediateStatus = 200
    decision.immediateBody = modelListBody(this.#pools)
    decision.immediateDetails = 'signalbox_model_list'
    decision.set('content-type', 'application/json')
    this.#context.outcomes.answered('model_list')
    return Verdict.DECIDED
  }

  #refuse(x: Exchange, problem: OpenAiProblem): Verdict {
    const { decision } = x
    decision.setNames.length = 0
    decision.setValues.length = 0
    decision.removeNames.length = 0
    decision.replacements.length = 0
    decision.endpoints = ''
    decision.unretriedIndex = -1
    decision.immediateStatus = problem.status
    decision.immediateBody = openAiErrorBody(problem)
    decision.immediateDetails = `signalbox_${problem.code}`
    decision.set('content-type', 'application/json')
    if (problem.status === 429 || problem.status === 503) decision.set('retry-after', '1')
    if (this.#fleet) decision.record('reason', problem.code)
    this.#context.outcomes.refused(problem.code)
    return Verdict.DECIDED
  }
}

function isModelsPath(path: string): boolean {
  return path.startsWith(MODELS_PATH) && pathLength(path) === MODELS_PATH.length
}
