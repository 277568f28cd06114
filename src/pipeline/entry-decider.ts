import type { IncomingMessage } from '../extproc/decode-request.ts'
import { type Decider, Refusal, Verdict } from '../extproc/decider.ts'
import { type Exchange, RequestState } from '../extproc/exchange.ts'
import type { HeldBudget } from '../extproc/held-budget.ts'
import { headerName, type HeaderView } from '../extproc/header-view.ts'
import { metadataStrings } from '../extproc/metadata.ts'
import { findSystemOwned, modelRewrite } from '../inference/control-headers.ts'
import { videoTokens } from '../inference/media-tokens.ts'
import {
  badContentLength,
  bodyTooLarge,
  noParser,
  type OpenAiProblem,
  overloaded,
  uploadTimeout,
} from '../llm/openai-error.ts'
import { OUTPUT_CAP_FIELDS } from '../llm/output-caps.ts'
import { ModelEditor } from '../llm/model-editor.ts'
import { PASSED_THROUGH } from '../llm/request-apis.ts'
import { BodyKind, bodyKindOf, contentType, responseKindOf, ResponseKind } from './body-kind.ts'
import { Call } from './call.ts'
import { EXPLAINED } from './decision-records.ts'
import type { DeciderContext } from './decider-context.ts'
import { giveBack, giveBackLogged, giveBackOnceSeen, giveBackStages, giveBackStagesOnceSeen } from './in-flight.ts'
import type { LinkedPool } from './linked-pool.ts'
import { tellLabels } from './label-headers.ts'
import { noteLoadReport } from './load-reports.ts'
import type { EntryPlan, ModelFact } from './plan.ts'
import { requestPath } from './request-path.ts'
import { RequestRouter } from './request-router.ts'
import { renderApiOf } from './request-tokens.ts'
import { tellSessions } from './session-headers.ts'
import { SERVED_HEADER } from './served-header.ts'
import { pathLength } from './rules.ts'

const METHOD = headerName(':method')
const SUBSET_NAMESPACE = 'envoy.lb.subset_hint'
const SUBSET_KEY = 'x-gateway-destination-endpoint-subset'
const LB_NAMESPACE = 'envoy.lb'
const SERVED_KEY = 'x-gateway-destination-endpoint-served'
const SERVED = headerName(SERVED_HEADER)
const NOT_TOLD = 'fail: missing destination endpoint served metadata'
const MODELS_PATH = '/v1/models'
const MAX_POOLED_CALLS = 1024
/** Waiting for more would cost time, wherever the end is waited for. */
const SHORT_BODY_BYTES = 64 * 1024
/** A gateway's bodies up to this size are read to their end, so that all that is wrong with them is told. */
const CHECKED_BODY_BYTES = 16 * 1024

/**
 * Decides the requests of one entry: parse → resolve model → route → pick (the later stages of the corridor have their place
 * between them). One object per entry plan and thread; the record of a request is its `Call`.
 */
export class EntryDecider implements Decider {
  readonly plan: EntryPlan
  readonly maxBodyBytes: number
  readonly messageTimeoutMs: number
  readonly uploadTimeoutMs: number
  readonly waitMs: number
  readonly uploadIdleMs: number
  readonly followsResponse: boolean
  readonly retryBufferBytes: number
  readonly mayRewrite: boolean
  readonly #context: DeciderContext
  readonly #router: RequestRouter
  readonly #prefixBlockBytes: number
  readonly #media: boolean
  /** Some pool goes by tokens; some asks a renderer for them. */
  readonly #tokens: boolean
  readonly #renders: boolean
  /** Some rule needs a model: a body that cannot be read is then worth a word of its own. */
  readonly #readsBody: boolean
  readonly #fleet: boolean
  readonly #tellsServed: boolean

  /** @throws Error when the plan names a pool that `pools` lacks, or has a pattern that is no regular expression */
  constructor(plan: EntryPlan, pools: ReadonlyMap<string, LinkedPool>, context: DeciderContext) {
    this.plan = plan
    this.maxBodyBytes = plan.maxBodyBytes
    this.messageTimeoutMs = plan.messageTimeoutMs
    this.uploadTimeoutMs = plan.uploadTimeoutMs
    this.uploadIdleMs = plan.uploadIdleMs
    this.waitMs = plan.maxWaitMs ?? 0
    this.followsResponse = plan.followResponse
    this.retryBufferBytes = plan.retryBufferBytes
    this.#context = context
    this.#router = new RequestRouter(plan, pools, context)
    this.mayRewrite = this.#router.pools.some(({ plan }) => plan.rewrites.length > 0)
    this.#prefixBlockBytes = this.#router.pools[0]?.plan.scheduling.prefixBlockBytes ?? 512
    this.#media = plan.media === true
    const kvEvents = this.#router.pools.flatMap(({ plan }) => plan.scheduling.kvEvents ?? [])
    this.#tokens = kvEvents.length > 0
    this.#renders = kvEvents.some(({ render }) => render !== undefined)
    this.#readsBody =
      plan.body !== 'none' &&
      (plan.model !== 'none' || plan.prefixBytes > 0 || this.#media || plan.mediaHashes === true)
    this.#fleet = plan.attach === 'fleet'
    this.#tellsServed = this.#router.pools.some(pool => pool.plan.scheduling.tellsServed === true)
  }

  /** Of an entry with one pool, that pool's; else it is not known yet for which a body is held. */
  get heldBudget(): HeldBudget | undefined {
    return this.#router.pools.length === 1 ? this.#router.pools[0]!.pool.held : undefined
  }

  requestHeaders(x: Exchange, message: IncomingMessage, bodyComes: boolean): Verdict {
    const call = this.#begin(x)
    const { headers } = x
    if (!this.#fleet) this.#readControl(x, call)
    this.requestMetadata(x, message)
    this.#context.records?.identify(call, message)
    if (this.plan.listModels && isModelList(call)) return this.#router.listModels(x)
    if (bodyComes && !this.#fleet) {
      call.api = this.#router.apiOf(call)
      if (call.api === undefined) return this.#router.refuse(x, noParser(call.path))
    }
    if (!bodyComes || !this.#readsBody) return this.#router.route(x, call)
    const grpc = call.api?.grpc
    const kind = grpc === undefined ? bodyKindOf(headers) : BodyKind.GRPC
    if (kind === BodyKind.NONE) {
      call.unreadable = true
      return this.#router.route(x, call)
    }
    const multipart = kind === BodyKind.MULTIPART
    // A form has no prompt that we read.
    if (multipart && this.plan.model === 'none') return this.#router.route(x, call)
    const type = multipart ? contentType(headers) : ''
    const fact = this.#modelFact(x, call)
    const { prompt } = call.facts
    prompt.wantsTokens = this.#tokens
    prompt.wantsMediaHashes = this.plan.mediaHashes === true
    const { mediaTokens } = this.plan
    if (mediaTokens !== undefined) {
      prompt.mediaTokens = mediaTokens
      prompt.videoTokens = videoTokens(mediaTokens, headers)
    }
    if (this.plan.outputCap === true)
      call.facts.capFields = call.api === undefined ? OUTPUT_CAP_FIELDS : call.api.outputCap
    if (call.api?.shape !== undefined) {
      const minBytes = x.contentLength < 0 ? CHECKED_BODY_BYTES : 0
      call.facts.check.begin(call.api, CHECKED_BODY_BYTES, minBytes)
    }
    if (this.#renders && !multipart && renderApiOf(call) !== undefined) call.body.begin(x.context.budget)
    call.facts.begin(kind, fact, this.plan.prefixBytes, this.#prefixBlockBytes, type, this.#media, grpc)
    return call.facts.problem === undefined ? Verdict.MORE : this.#router.refuse(x, call.facts.problem)
  }

  /** Instead of `requestHeaders`: a request that is refused whatever it says. */
  refuseAtOnce(x: Exchange, problem: OpenAiProblem): Verdict {
    this.#begin(x)
    return this.#router.refuse(x, problem)
  }

  requestMetadata(x: Exchange, message: IncomingMessage): void {
    if (this.plan.ignoreSubset === true || message.metadataStart < 0 || message.bytes === undefined) return
    const subset = metadataStrings(
      message.bytes,
      message.metadataStart,
      message.metadataEnd,
      SUBSET_NAMESPACE,
      SUBSET_KEY,
    )
    if (subset === undefined) return
    const call = x.call as Call
    call.subsetTooLarge = subset === 'too-many'
    call.subset = subset === 'too-many' ? [] : subset
  }

  requestBody(x: Exchange, bytes: Buffer, start: number, end: number): Verdict {
    const call = x.call as Call
    if (this.#renders) call.body.add(bytes, start, end)
    return call.facts.feed(bytes, start, end) ? this.#router.route(x, call) : Verdict.MORE
  }

  requestEnd(x: Exchange): Verdict {
    const call = x.call as Call
    call.facts.end()
    return this.#router.route(x, call)
  }

  refuse(x: Exchange, refusal: Refusal): void {
    const call = x.call as Call | undefined
    if (call !== undefined) {
      call.waiting?.cancel()
      call.cancelDeferral?.()
      // The refusal overtakes a decision that was not sent yet; of one that was sent, access log or response tell.
      if (x.requestState === RequestState.UNDECIDED) giveBack(call)
      if (call.facts.hasBody) this.#router.recordModel(x, call.facts.model.name)
    }
    this.#router.refuse(x, this.#problem(refusal))
  }

  /** A retry may have gone to another endpoint than the picked one: the data plane tells which one serves. */
  responseHeaders(x: Exchange, message: IncomingMessage): void {
    const call = x.call as Call | undefined
    if (call === undefined) return
    call.responseSeen = true
    giveBackStages(call)
    if (call.explanation !== '') x.responseSet.push(EXPLAINED, call.explanation)
    if (call.rewritten !== undefined && call.model !== undefined) this.#editResponse(x, call, message.headers)
    call.follower?.begin(x, call, message.headers)
    this.#context.observers?.responseHeaders(call, message.headers)
    call.hooked?.responded(x, message.headers)
    const { bytes, metadataStart, metadataEnd } = message
    const served =
      call.counted === undefined || bytes === undefined
        ? undefined
        : metadataStrings(bytes, metadataStart, metadataEnd, LB_NAMESPACE, SERVED_KEY)
    const address = served === 'too-many' ? undefined : served?.[0]
    if (this.#tellsServed && (address !== undefined || message.headers.get(SERVED) === undefined))
      x.responseSet.push(SERVED_HEADER, address ?? NOT_TOLD)
    if (call.counted === undefined) return
    if (address !== undefined && call.counted.inFlight.served(call.picked, address, this.#fleet, this.#context.nowMs()))
      this.#context.outcomes.fellBack++
    if (call.counted.plan.scheduling.sessionHeaders !== undefined) tellSessions(x, call, call.counted)
    if (call.counted.plan.scheduling.labelHeaders !== undefined) tellLabels(x, call, call.counted)
    if (call.counted.plan.scrape.orca === true)
      noteLoadReport(call.counted, call, message.headers, this.#context.nowMs())
  }

  responseBody(x: Exchange, bytes: Uint8Array, start: number, end: number, last: boolean): Uint8Array | undefined {
    const call = x.call as Call
    const { observers } = this.#context
    const startedAt = observers?.responseBody(x, call, end - start) ?? 0
    call.follower?.read(x, call, bytes, start, end)
    const edited = x.editsResponse ? call.editor!.edit(bytes, start, end, last) : undefined
    observers?.worked(call, startedAt)
    return edited
  }

  responseTrailers(x: Exchange, { headers }: IncomingMessage): void {
    const call = x.call as Call | undefined
    if (call?.counted?.plan.scrape.orca === true) noteLoadReport(call.counted, call, headers, this.#context.nowMs())
  }

  /** The client gets the model that it asked for, whatever the engine was asked for. */
  #editResponse(x: Exchange, call: Call, headers: HeaderView): void {
    const kind = responseKindOf(headers)
    if (kind === ResponseKind.OTHER || call.api?.plainResponse === true) return
    call.editor ??= new ModelEditor()
    call.editor.begin(call.rewritten!, call.model!, kind === ResponseKind.EVENTS)
    x.readsResponse = true
    x.editsResponse = true
  }

  responseEnd(x: Exchange): void {
    const call = x.call as Call | undefined
    if (call === undefined) return
    this.#context.observers?.responseEnd(x, call)
    call.hooked?.ended(call.responseSeen)
    this.#responseOver(call)
  }

  closed(x: Exchange): void {
    const call = x.call as Call | undefined
    if (call === undefined) return
    call.follower?.over(call)
    call.waiting?.cancel()
    call.lease?.end()
    if (x.requestState === RequestState.UNDECIDED || call.lease?.revoked === true) giveBack(call)
    // A stream that is followed ends with its response; any other leaves the count to access log or scrape.
    else if (this.followsResponse && call.responseSeen) this.#responseOver(call)
    // The gateway sends us no responses.
    else if (this.followsResponse) giveBackOnceSeen(call)
    else if (this.#fleet && call.counted !== undefined && leftInOne(x)) {
      const { counted, picked } = call
      x.afterlife?.remember(counted.inFlight, picked.slots[0]!, picked.generations[0]!, picked.tokens)
    }
    giveBackStagesOnceSeen(call)
    // Our own fleet's streams are over with the decision, the requests are not.
    if (this.followsResponse || x.requestState === RequestState.UNDECIDED) call.hooked?.ended(call.responseSeen)
    this.#context.observers?.closed(x, call)
    call.clear()
    const { calls } = this.#context
    if (calls.length < MAX_POOLED_CALLS) calls.push(call)
  }

  #begin(x: Exchange): Call {
    const call = this.#context.calls.pop() ?? new Call()
    x.call = call
    const { headers } = x
    call.headers = headers
    call.method = headers.common(METHOD) ?? ''
    call.path = requestPath(headers)
    call.pathEnd = pathLength(call.path)
    this.#context.observers?.begin(x, call)
    return call
  }

  /** What the client says to an endpoint picker, and what it must not say. Our own fleet's clients say nothing that we heed. */
  #readControl(x: Exchange, call: Call): void {
    findSystemOwned(x.headers, call.forged)
    call.rewriteTo = modelRewrite(x.headers)
    if (call.rewriteTo !== undefined) x.mayRewrite = true
  }

  /** A short body is waited for to its end anyway, because Envoy may keep it for retries: then a second `model` key is seen too. */
  #modelFact(x: Exchange, call: Call): ModelFact {
    const { model } = this.plan
    if (call.rewriteTo !== undefined || this.#tokens) return 'whole'
    if (call.api !== undefined && call.api !== PASSED_THROUGH && model === 'first') {
      if (x.contentLength >= 0 && x.contentLength <= CHECKED_BODY_BYTES) return 'whole'
    }
    if (model !== 'first' || this.followsResponse || x.contentLength < 0) return model
    return x.contentLength <= Math.min(this.retryBufferBytes, SHORT_BODY_BYTES) ? 'whole' : model
  }

  #responseOver(call: Call): void {
    call.lease?.end()
    if (this.#fleet) giveBackLogged(call)
    else giveBack(call)
  }

  #problem(refusal: Refusal): OpenAiProblem {
    switch (refusal) {
      case Refusal.BODY_TOO_LARGE:
        return bodyTooLarge(this.maxBodyBytes)
      case Refusal.BAD_CONTENT_LENGTH:
        return badContentLength()
      case Refusal.UPLOAD_TIMEOUT:
        return uploadTimeout()
      default:
        return overloaded()
    }
  }
}

function isModelList({ method, path, pathEnd }: Call): boolean {
  return method === 'GET' && pathEnd === MODELS_PATH.length && path.startsWith(MODELS_PATH)
}

/**
 * Decision and end of the stream left together, and Envoy could not take the end from the decision, because a chunk of the body waits for its answer:
 * who has not read the end has not read the decision (docs/data-path.md, "In flight").
 */
function leftInOne(x: Exchange): boolean {
  return x.look && x.bodyBytes > 0 && x.decision.replacements.length === 0 && x.decidedAt === x.messages
}
