/**
 * The trace of one request (epp.md §5.3): its spans are made when it is over, as plain data, from what was noted on the way. Only requests
 * that are sampled have one; for the others it costs a look at two headers and a random number.
 */
import type { Exchange } from '../extproc/exchange.ts'
import { headerName, type HeaderView } from '../extproc/header-view.ts'
import { PickRecord } from '../inference/pick-record.ts'
import { PickTimes } from '../inference/pick-times.ts'
import { fairnessIdOf, priorityOf } from '../inference/flow-control/request-terms.ts'
import { isSampled, type SamplerPlan } from '../telemetry/sampler.ts'
import type { FinishedSpan, SpanValue } from '../telemetry/span.ts'
import {
  formatTraceparent,
  newSpanId,
  newTraceId,
  parseTraceparent,
  type TraceContext,
} from '../telemetry/trace-context.ts'
import type { Call } from './call.ts'
import type { LinkedPool } from './linked-pool.ts'
import { pickSpans } from './pick-spans.ts'

const TRACEPARENT = headerName('traceparent')
const REQUEST_ID = headerName('x-request-id')
/** Digits of a trace's id that are random in any case, as a share: the last 13 of 32. */
const RANDOM_DIGITS = 19
const RANDOM_RANGE = 2 ** 52
/** Traces of one thread in a second; more are dropped. */
const MAX_TRACES = 500

export class RequestTracer {
  readonly #sampler: SamplerPlan
  readonly #send: (spans: readonly FinishedSpan[]) => void
  readonly #random: () => number
  readonly #now: () => number
  /** Unix ms at 0 of the clock. */
  readonly #origin: number
  #second = 0
  #traces = 0

  /** `send` takes the spans of a request that is over. */
  constructor(
    sampler: SamplerPlan,
    send: (spans: readonly FinishedSpan[]) => void,
    random: () => number = Math.random,
    now: () => number = () => performance.now(),
    origin: number = performance.timeOrigin,
  ) {
    this.#sampler = sampler
    this.#send = send
    this.#random = random
    this.#now = now
    this.#origin = origin
  }

  /** The trace of a request that has just come; undefined: it has none. What the gateway says on the stream counts before what the client says. */
  begin(x: Exchange, call: Call): RequestTrace | undefined {
    const parent = parseTraceparent(x.traceparent ?? call.headers.get(TRACEPARENT))
    const drawn =
      parent === undefined ? this.#random() : Number.parseInt(parent.traceId.slice(RANDOM_DIGITS), 16) / RANDOM_RANGE
    if (!isSampled(this.#sampler, parent?.sampled, drawn)) return undefined
    const second = Math.floor(x.startedAt / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#traces = 0
    }
    if (++this.#traces > MAX_TRACES) return undefined
    return new RequestTrace(parent, x.startedAt, call, this.#now)
  }

  /** The request is over. */
  end(trace: RequestTrace, call: Call): void {
    this.#send(trace.spans(call, this.#origin))
  }
}

export class RequestTrace {
  /** The record of its pick. */
  record = new PickRecord()
  readonly times: PickTimes
  readonly #parent: TraceContext | undefined
  readonly #context: TraceContext
  readonly #startedAt: number
  readonly #now: () => number
  readonly #attributes: Record<string, SpanValue> = {}
  #pool: LinkedPool | undefined
  #priority = 0
  #fairnessId = ''
  #decidedAt = 0
  #status = 0
  #error: string | undefined

  constructor(parent: TraceContext | undefined, startedAt: number, { headers, method, path }: Call, now: () => number) {
    this.#parent = parent
    this.#context = { traceId: parent?.traceId ?? newTraceId(), spanId: newSpanId(), sampled: true }
    this.#startedAt = startedAt
    this.#now = now
    this.times = new PickTimes(now)
    this.#attributes['http.request.method'] = method
    const query = path.indexOf('?')
    this.#attributes['url.path'] = query < 0 ? path : path.slice(0, query)
    const id = headers.get(REQUEST_ID)
    if (id !== undefined) this.#attributes['gen_ai.request.id'] = id
  }

  /** `traceparent` for the engine: a child of ours. */
  get traceparent(): string {
    return formatTraceparent(this.#context)
  }

  /** It goes to a pool, or waits before it. The headers that are read here are lent until the decision. */
  entered(call: Call, linked: LinkedPool): void {
    this.#pool = linked
    const { objectives, agentHeaders } = linked.pool.gate
    this.#priority = priorityOf(call.headers, objectives)
    this.#fairnessId = fairnessIdOf(call.headers, agentHeaders)
  }

  /** Somebody else wants the record too, and has made it. */
  keep(record: PickRecord): void {
    this.record = record
  }

  decided(): void {
    if (this.#decidedAt === 0) this.#decidedAt = this.#now()
  }

  refused(status: number, code: string): void {
    this.decided()
    this.#status = status
    this.#error = code
  }

  responded(headers: HeaderView): void {
    this.#status = Number(headers.common(STATUS) ?? 0)
    if (this.#status >= 500) this.#error = `HTTP ${this.#status}`
  }

  /** Of a request that is over now; `origin`: Unix ms at 0 of the clock. */
  spans(call: Call, origin: number): FinishedSpan[] {
    const endedAt = this.#now()
    const decidedAt = this.#decidedAt === 0 ? endedAt : this.#decidedAt
    const { traceId, spanId } = this.#context
    const orchestration = newSpanId()
    const common = this.#common(call)
    const error = this.#error === undefined ? {} : { error: this.#error }
    const attributes = { ...this.#attributes, ...common }
    const spans: FinishedSpan[] = [
      {
        traceId,
        spanId,
        ...(this.#parent === undefined ? {} : { parentSpanId: this.#parent.spanId, remoteParent: true }),
        name: 'gateway.request',
        kind: 'server',
        startedAt: origin + this.#startedAt,
        endedAt: origin + endedAt,
        attributes: this.#status === 0 ? attributes : { ...attributes, 'http.response.status_code': this.#status },
        ...error,
      },
      {
        traceId,
        spanId: orchestration,
        parentSpanId: spanId,
        name: 'gateway.request_orchestration',
        kind: 'internal',
        startedAt: origin + this.#startedAt,
        endedAt: origin + decidedAt,
        attributes: { ...common, ...this.#orchestration(call) },
        ...(this.#decidedAt === 0 || this.#status >= 500 ? {} : error),
      },
    ]
    const base = { traceId, parentSpanId: orchestration, origin, common }
    spans.push(...pickSpans(base, this.times, this.record))
    return spans
  }

  #common(call: Call): Readonly<Record<string, SpanValue>> {
    const model = call.model ?? call.facts.model.name
    const id = this.#attributes['gen_ai.request.id']
    return {
      ...(model === undefined ? {} : { 'gen_ai.request.model': model }),
      ...(id === undefined ? {} : { 'gen_ai.request.id': id }),
    }
  }

  #orchestration({ rewritten, model, picked, reason, endpoints }: Call): Record<string, SpanValue> {
    const linked = this.#pool
    if (linked === undefined) return {}
    const { prefill, encode } = picked
    const staged = linked.plan.scheduling.handler === undefined || endpoints === ''
    return {
      target_model: rewritten ?? model ?? '',
      request_prio: this.#priority,
      'signalbox.pool': linked.plan.name,
      'signalbox.fairness_id': this.#fairnessId,
      ...(endpoints === '' ? {} : { 'signalbox.endpoints': endpoints }),
      ...(reason === '' ? {} : { 'signalbox.reason': reason }),
      ...(staged
        ? {}
        : {
            'llm_d.epp.pd.disaggregation_used': prefill.count > 0,
            ...(prefill.count > 0
              ? { 'llm_d.epp.pd.prefill_pod_address': linked.pool.addressOf(prefill.slots[0]!) }
              : {}),
            'llm_d.epp.encode.disaggregation_used': encode.count > 0,
          }),
    }
  }
}

const STATUS = headerName(':status')
