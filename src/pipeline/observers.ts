import type { Exchange } from '../extproc/exchange.ts'
import type { HeaderView } from '../extproc/header-view.ts'
import type { PickStatus } from '../inference/pick.ts'
import type { PickTimes } from '../inference/pick-times.ts'
import type { OpenAiProblem } from '../llm/openai-error.ts'
import type { Call } from './call.ts'
import type { LinkedPool } from './linked-pool.ts'
import type { RequestMetrics } from './request-metrics.ts'
import type { RequestTracer } from './request-trace.ts'

/**
 * Who looks on while requests are decided: metrics by model and tenant, and traces. One object a thread, where there is either of them; without
 * it a request pays one comparison for each of these calls.
 */
export class Observers {
  readonly metrics: RequestMetrics | undefined
  readonly #tracer: RequestTracer | undefined
  // Of the pick under way.
  #startedAt = 0
  #sample: PickTimes | undefined

  constructor(metrics: RequestMetrics | undefined, tracer: RequestTracer | undefined) {
    this.metrics = metrics
    this.#tracer = tracer
  }

  /** A request has come; its headers are in `call`. */
  begin(x: Exchange, call: Call): void {
    call.trace = this.#tracer?.begin(x, call)
  }

  /** It goes to a pool, or will wait before it. */
  entered(call: Call, linked: LinkedPool): void {
    this.metrics?.entered(call, linked)
    call.trace?.entered(call, linked)
  }

  /** Now, for `queued`. */
  now(): number {
    return performance.now()
  }

  /** It came to the queues of a pool at `startedAt`: it is in one (`waits`), was refused, or goes on at once. */
  queued(
    x: Exchange,
    call: Call,
    linked: LinkedPool,
    startedAt: number,
    waits: boolean,
    problem: OpenAiProblem | undefined,
  ): void {
    if (linked.pool.gate.flow !== undefined) this.metrics?.queued(x, call, linked, startedAt, { waits, problem })
  }

  /** It waits no longer; `problem`: it is refused. */
  left(call: Call, problem: OpenAiProblem | undefined): void {
    this.metrics?.left(call, problem)
  }

  /** It is about to be picked for, with a record of its own or none. */
  beforePick({ pick, trace }: Call): void {
    this.#sample = this.metrics?.sampleTimes()
    pick.times = trace?.times ?? this.#sample
    pick.record ??= trace?.record
    this.#startedAt = performance.now()
  }

  afterPick(call: Call, linked: LinkedPool, status: PickStatus): void {
    const times = this.#sample === undefined ? undefined : call.pick.times
    this.metrics?.picked(call, linked, status, this.#startedAt, times)
    if (call.pick.record !== undefined) call.trace?.keep(call.pick.record)
  }

  /** It is sent on, and the engine is told of its trace. */
  routed(x: Exchange, call: Call, linked: LinkedPool | undefined): void {
    this.metrics?.routed(x, call, linked)
    if (call.trace === undefined) return
    call.trace.decided()
    call.told.push('traceparent', call.trace.traceparent)
  }

  refused(x: Exchange, { status, code }: OpenAiProblem): void {
    const call = x.call as Call | undefined
    if (call === undefined) return
    this.metrics?.refused(x, call, code)
    call.trace?.refused(status, code)
  }

  /** Of the response; whoever reads its usage has begun to. */
  responseHeaders(call: Call, headers: HeaderView): void {
    this.metrics?.responseHeaders(call, headers)
    call.trace?.responded(headers)
  }

  /** A piece of the response that is about to be read. Returns the time, for `worked`. */
  responseBody(x: Exchange, call: Call, bytes: number): number {
    return this.metrics?.responseBody(x, call, bytes) ?? 0
  }

  /** It has been read, since `startedAt`. */
  worked(call: Call, startedAt: number): void {
    if (startedAt > 0) this.metrics?.worked(call, startedAt)
  }

  responseEnd(x: Exchange, call: Call): void {
    this.metrics?.responseEnd(x, call)
  }

  /** The stream is over. */
  closed(x: Exchange, call: Call): void {
    this.metrics?.closed(x, call)
    if (call.trace !== undefined) this.#tracer!.end(call.trace, call)
  }
}
