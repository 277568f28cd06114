import { type Exchange } from '../extproc/exchange.ts'
import { Verdict } from '../extproc/decider.ts'
import { prefersAvailable } from '../inference/control-headers.ts'
import { priorityOf } from '../inference/flow-control/request-terms.ts'
import { PickStatus } from '../inference/pool.ts'
import { MAX_METADATA_STRINGS } from '../extproc/metadata.ts'
import {
  invalidField,
  missingModel,
  modelNotFound,
  noBackend,
  noEndpoints,
  noParser,
  notCached,
  type OpenAiProblem,
  routeNotFound,
  filtered,
  saturated,
  subsetTooLarge,
  unknownProfile,
  unsupportedMediaType,
} from '../llm/openai-error.ts'
import { notAdmitted } from '../llm/queue-errors.ts'
import { DEFAULT_PARSERS, PASSED_THROUGH, RequestApis, type RequestApi } from '../llm/request-apis.ts'
import { answerModels, answerProblem } from './answers.ts'
import { saysJson } from './body-kind.ts'
import type { Call } from './call.ts'
import { EXPLAINED } from './decision-records.ts'
import type { DeciderContext } from './decider-context.ts'
import type { LinkedPool } from './linked-pool.ts'
import { enterPool, WAITS } from './pool-entrance.ts'
import { ANSWERED_RECORD, type EntryPlan } from './plan.ts'
import { PreparedAnswers } from './prepared-answers.ts'
import { recordText } from './record-text.ts'
import { canPutModel, putModel, rewriteModel } from './rewrite.ts'
import { withBurst } from './request-bursts.ts'
import { withTokens } from './request-tokens.ts'
import { routeTo } from './routed-answer.ts'
import { tellReplicas } from './stage-headers.ts'
import { chooseTarget, type LinkedRule, linkRule, matchesModel, matchesRequest } from './rules.ts'
import type { Target } from './target.ts'
import { ownApis } from './own-apis.ts'
import { tellPicked } from './request-hooks.ts'

/** What becomes of a request whose facts are final: rule → target → endpoint, or a refusal. One per entry and thread. */
export class RequestRouter {
  /** Pools that a rule leads to. */
  readonly pools: readonly LinkedPool[]
  readonly #context: DeciderContext
  readonly #rules: readonly (LinkedRule & { readonly targets: readonly Target[] })[]
  readonly #usesPrefix: boolean
  readonly #fleet: boolean
  readonly #maxWaitMs: number
  readonly #apis = new Map<LinkedPool, RequestApis>()

  /** @throws Error when the plan names a pool that `pools` lacks, or has a pattern that is no regular expression */
  constructor(plan: EntryPlan, pools: ReadonlyMap<string, LinkedPool>, context: DeciderContext) {
    this.#context = context
    this.#usesPrefix = plan.prefixBytes > 0
    this.#fleet = plan.attach === 'fleet'
    this.#maxWaitMs = plan.maxWaitMs ?? 0
    this.#rules = plan.rules.map(rule =>
      linkRule<Target>(rule, target => {
        const pool = target.pool === undefined ? undefined : pools.get(target.pool)
        if (target.pool !== undefined && pool === undefined)
          throw new Error(`entry ${plan.name}: no pool ${target.pool}`)
        return { plan: target, rule: rule.name, pool, answers: new PreparedAnswers() }
      }),
    )
    const used = new Set<LinkedPool>()
    for (const rule of this.#rules)
      for (const target of rule.targets) if (target.pool !== undefined) used.add(target.pool)
    this.pools = [...used]
    for (const linked of used) {
      const parsers = linked.plan.scheduling.parsers ?? (this.#fleet ? undefined : DEFAULT_PARSERS)
      if (parsers !== undefined) this.#apis.set(linked, new RequestApis(parsers, ownApis))
    }
  }

  /** The API of a request of a gateway whose endpoint picker we are; undefined: no parser takes its path. */
  apiOf({ path, pathEnd }: Call): RequestApi | undefined {
    const apis = this.#apis.get(this.pools[0]!)
    return apis === undefined ? PASSED_THROUGH : apis.find(pathEnd === path.length ? path : path.slice(0, pathEnd))
  }

  /** Decides by `call`, whose facts are final. */
  route(x: Exchange, call: Call): Verdict {
    const { facts } = call
    call.bodyBytes = x.contentLength
    if (facts.problem !== undefined) {
      if (call.api !== PASSED_THROUGH || this.#mustBeJson(call)) return this.refuse(x, facts.problem)
      // Whatever it is, it is nothing that we would have to understand.
      facts.clear()
    }
    const model = facts.model.name
    call.model = model
    call.baseModel = model === undefined ? undefined : this.#context.baseModels.get(model)
    const rules = this.#rules
    let modelMissed = false
    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i]!
      // Once a model has missed, another one that misses tells nothing new.
      if (modelMissed && rule.exactModel !== undefined && rule.exactModel !== model) continue
      if (!matchesRequest(rule, call)) continue
      if (matchesModel(rule, call)) return this.#follow(x, call, rule)
      modelMissed = true
    }
    this.recordModel(x, model)
    if (!modelMissed) return this.refuse(x, routeNotFound())
    if (model !== undefined) return this.refuse(x, modelNotFound(model))
    if (call.unreadable) return this.refuse(x, unsupportedMediaType())
    // A POST of nothing lacks a model, however it is framed; what has no body by its nature is just nowhere at home.
    return this.refuse(x, facts.hasBody || call.method === 'POST' ? missingModel() : routeNotFound())
  }

  /** Who only tells models has no parsers: of all that a gateway carries, JSON that is none is what a model cannot be read of. */
  #mustBeJson({ headers }: Call): boolean {
    return !this.#fleet && this.pools.length === 0 && saysJson(headers)
  }

  listModels(x: Exchange): Verdict {
    answerModels(x.decision, [this.pools, (model, pool) => this.#reaches(model, pool)])
    this.#record(x, 'reason', 'model_list')
    this.#record(x, ANSWERED_RECORD, 'signalbox')
    this.#context.outcomes.answered('model_list')
    return Verdict.DECIDED
  }

  /** Whether some rule leads requests for this model to the pool. */
  #reaches(model: string, pool: LinkedPool): boolean {
    const facts = { model, baseModel: this.#context.baseModels.get(model) }
    return this.#rules.some(rule => {
      const targets: readonly Target[] = rule.targets
      return matchesModel(rule, facts) && targets.some(target => target.pool === pool)
    })
  }

  refuse(x: Exchange, problem: OpenAiProblem): Verdict {
    answerProblem(x.decision, problem)
    this.#context.observers?.refused(x, problem)
    this.#record(x, 'reason', problem.code)
    this.#record(x, ANSWERED_RECORD, 'signalbox')
    this.#context.outcomes.refused(problem.code)
    return Verdict.DECIDED
  }

  /** For the record of a refusal: what the client asked for. */
  recordModel(x: Exchange, model: string | undefined): void {
    if (model !== undefined) this.#record(x, 'model', recordText(model))
  }

  #follow(x: Exchange, call: Call, rule: LinkedRule & { readonly targets: readonly Target[] }): Verdict {
    const { targets } = rule
    const target = targets.length === 1 ? targets[0] : chooseTarget(rule, this.#context.random())
    if (target === undefined) return this.#drop(x, call, rule, undefined, noBackend())
    if (target.pool === undefined) {
      call.reason = 'route'
      return this.#routeTo(x, call, target)
    }
    const problem = this.#check(call, target.pool)
    if (problem !== undefined) return this.#drop(x, call, rule, target, problem)
    const linked = target.pool
    this.#context.observers?.entered(call, linked)
    const { kvEvents } = linked.plan.scheduling
    const { bursts } = linked.pool
    if (kvEvents === undefined && bursts === undefined) return this.#admit(x, call, rule, target, linked)
    const admit = () => this.#admit(x, call, rule, target, linked)
    const { nowMs } = this.#context
    const meet = bursts === undefined ? admit : () => withBurst(x, call, bursts, this.#maxWaitMs, nowMs, admit)
    return kvEvents === undefined ? meet() : withTokens(x, call, kvEvents.render, meet)
  }

  #admit(x: Exchange, call: Call, rule: LinkedRule, target: Target, linked: LinkedPool): Verdict {
    return linked.pool.gate.isOpen
      ? this.#place(x, call, rule, target, linked)
      : this.#enter(x, call, rule, target, linked)
  }

  #routeTo(x: Exchange, call: Call, target: Target): Verdict {
    this.#context.observers?.routed(x, call, target.pool)
    routeTo(x, call, target, this.#context.routing, this.#fleet)
    this.#context.outcomes.routed(target.plan.cluster)
    return Verdict.DECIDED
  }

  #drop(x: Exchange, call: Call, rule: LinkedRule, target: Target | undefined, problem: OpenAiProblem): Verdict {
    this.recordModel(x, call.model)
    this.#record(x, 'route', rule.plan.name)
    if (target?.pool !== undefined) this.#record(x, 'pool', target.pool.plan.name)
    return this.refuse(x, problem)
  }

  /** The pool may be full: then the request waits, or is refused. */
  #enter(x: Exchange, call: Call, rule: LinkedRule, target: Target, linked: LinkedPool): Verdict {
    const { observers } = this.#context
    const send = () => this.#place(x, call, rule, target, linked)
    const drop = (problem: OpenAiProblem) => this.#drop(x, call, rule, target, problem)
    const continuation = {
      send: () => {
        observers?.left(call, undefined)
        return send()
      },
      drop: (problem: OpenAiProblem) => {
        observers?.left(call, problem)
        return drop(problem)
      },
    }
    const startedAt = observers?.now() ?? 0
    // It may have waited for its burst.
    const burstMs = linked.plan.scheduling.bursts?.windowMs ?? 0
    const maxWaitMs = this.#maxWaitMs === 0 ? 0 : Math.max(1, this.#maxWaitMs - burstMs)
    const entered = enterPool(linked.pool.gate, x, call, continuation, maxWaitMs, this.#context.nowMs())
    const waits = entered === WAITS
    observers?.queued(x, call, linked, startedAt, waits, waits ? undefined : entered)
    if (entered === undefined) return send()
    return waits ? Verdict.DEFERRED : drop(entered)
  }

  /** Whether the request may be sent to the pool at all; if so, what to pick for. Returns why it must be refused. */
  #check(call: Call, target: LinkedPool): OpenAiProblem | undefined {
    const { pool, plan } = target
    const { model, pick, facts } = call
    let rewritten: string | undefined
    if (call.subsetTooLarge) return subsetTooLarge(MAX_METADATA_STRINGS)
    const apis = this.#apis.get(target)
    const api =
      apis === undefined || !facts.hasBody ? undefined : (call.api ?? apis.find(call.path.slice(0, call.pathEnd)))
    if (apis !== undefined && facts.hasBody && api === undefined) return noParser(call.path)
    if (call.unreadable && call.api !== undefined && call.api !== PASSED_THROUGH) return unsupportedMediaType()
    if (api?.required !== undefined) {
      const lack = facts.lacks(api.required)
      if (lack !== undefined) return invalidField(api.name, api.required.name, lack)
    }
    if (call.rewriteTo !== undefined) {
      if (canPutModel(facts.model)) rewritten = call.rewriteTo
    } else if (plan.rewrites.length > 0) {
      // What cannot be read can neither be rewritten nor checked.
      if (call.unreadable) return unsupportedMediaType()
      if (canPutModel(facts.model)) rewritten = rewriteModel(plan.rewrites, model, this.#context.random())
    }
    if (api?.needsModel === true && model === undefined && rewritten === undefined) return missingModel()
    if (plan.rejectUnknownModels && rewritten === undefined) {
      if (call.unreadable) return unsupportedMediaType()
      if (model !== undefined && pool.allListed && !pool.knows(model)) {
        pool.relist()
        return modelNotFound(model)
      }
    }
    pick.model = rewritten ?? model ?? ''
    pick.prefix = this.#usesPrefix && facts.hasBody ? facts.prompt.hasher : undefined
    pick.promptBytes = facts.prompt.bytes
    pick.promptSize = facts.hasBody ? facts.promptSize(call.bodyBytes) : 0
    pick.outputCap = facts.outputCap
    pick.hasMedia = facts.prompt.hasMedia
    pick.media = facts.prompt.mediaHashes
    pick.subset = call.subset
    pick.headers = call.headers
    pick.salt = facts.salt
    pick.onlyCached = prefersAvailable(call.headers)
    pick.priority = plan.scheduling.admitters === undefined ? 0 : priorityOf(call.headers, pool.gate.objectives)
    if (rewritten !== model) call.rewritten = rewritten
    return undefined
  }

  /** Chooses an endpoint of the pool. */
  #place(x: Exchange, call: Call, rule: LinkedRule, target: Target, linked: LinkedPool): Verdict {
    const problem = this.#pick(x, call, linked)
    if (problem !== undefined) {
      const verdict = this.#drop(x, call, rule, target, problem)
      if (call.explanation !== '') x.decision.set(EXPLAINED, call.explanation)
      return verdict
    }
    if (call.rewritten !== undefined) x.decision.replacements.push(putModel(call.facts, call.rewritten))
    return this.#routeTo(x, call, target)
  }

  #pick(x: Exchange, call: Call, linked: LinkedPool): OpenAiProblem | undefined {
    const { pick } = call
    const { pool, plan, usage } = linked
    const { records, observers } = this.#context
    pick.nowMs = this.#context.nowMs()
    const record = records?.begin(call)
    pick.record = record
    observers?.beforePick(call)
    const status = pool.pick(pick, call.picked)
    observers?.afterPick(call, linked, status)
    if (record !== undefined) records!.end(x, call, plan.name, status, record, this.#fleet)
    if (status === PickStatus.OK) {
      call.counted = pool
      call.lease?.begin()
      call.follower = usage
      call.endpoints = pool.addresses(call.picked)
      call.reason = call.picked.reason
      tellReplicas(call, pool)
      if (linked.hooks.length > 0) tellPicked(call, linked)
    } else if (status === PickStatus.SATURATED) {
      return saturated()
    } else if (status === PickStatus.FILTERED) {
      return filtered()
    } else if (status === PickStatus.NO_PROFILE) {
      return unknownProfile()
    } else if (status === PickStatus.NOT_ADMITTED) {
      return notAdmitted()
    } else if (status === PickStatus.NOT_CACHED) {
      return notCached()
    } else if (call.subset !== undefined || !plan.failOpen) {
      return noEndpoints()
    } else {
      call.reason = 'fail-open'
    }
    return undefined
  }

  /** A line of the decision record: our own fleet's only, where the access log reads it. */
  #record(x: Exchange, name: string, value: string): void {
    if (this.#fleet) x.decision.record(name, value)
  }
}
