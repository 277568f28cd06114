/**
 * Counts what becomes of requests by model, tenant and endpoint (./request-families.ts), on the thread that decides them. Only made where
 * somebody wants these metrics: without it a request pays one comparison for each of the calls below.
 */
import type { Exchange } from '../extproc/exchange.ts'
import { headerName, type HeaderView } from '../extproc/header-view.ts'
import { FLOW_OUTCOMES, FlowOutcome } from '../inference/flow-control/flow-outcome.ts'
import type { PickStatus } from '../inference/pick.ts'
import type { PickTimes } from '../inference/pick-times.ts'
import type { Usage } from '../llm/usage.ts'
import type { OpenAiProblem } from '../llm/openai-error.ts'
import type { SeriesWriter } from '../telemetry/shared-series.ts'
import type { Call } from './call.ts'
import { ClientNames } from './client-names.ts'
import type { Measured } from './measured.ts'
import { PickMetrics } from './pick-metrics.ts'
import { queueOutcome } from './queue-outcome.ts'
import type { LinkedPool } from './linked-pool.ts'
import { Family } from './request-families.ts'
import { RequestLabels } from './request-labels.ts'
import type { UsageSink } from './response-usage.ts'
import { rewriteOf } from './rewrite.ts'
import { responseKindOf, ResponseKind } from './body-kind.ts'

/** Plain data, for every thread. */
export interface RequestMetricsOptions {
  /** Response bodies are read: their usage, and the times of their chunks. */
  readonly tokens: boolean
  /** Share of the picks whose plug-ins are timed, 0 … 1. */
  readonly pluginShare: number
}

const STATUS = headerName(':status')
const CONTENT_LENGTH = headerName('content-length')
const MODEL_SERVER_ERROR = 'model_server_error'
export class RequestMetrics implements UsageSink {
  readonly #writer: SeriesWriter
  readonly #now: () => number
  readonly #names: ClientNames
  readonly #labels: RequestLabels
  readonly #picks: PickMetrics
  // Cells without labels.
  readonly #processing: number
  readonly #responseProcessing: number

  constructor(
    writer: SeriesWriter,
    options: RequestMetricsOptions,
    random: () => number = Math.random,
    now: () => number = () => performance.now(),
  ) {
    this.#writer = writer
    this.#now = now
    this.#names = new ClientNames(writer, now())
    this.#labels = new RequestLabels(this.#names, now)
    this.#picks = new PickMetrics(writer, this.#names, this.#labels, options.pluginShare, random, now)
    this.#processing = this.#writer.series(Family.PROCESSING, [])
    this.#responseProcessing = this.#writer.series(Family.RESPONSE_PROCESSING, [])
  }

  /** Models that the configuration names: they never become `other`. */
  setConfigured(models: Iterable<string>): void {
    this.#names.models.setConfigured(models)
  }

  /** The request's times, for a pick that is about to be made; undefined: it is not in the sample. */
  sampleTimes(): PickTimes | undefined {
    return this.#picks.sampleTimes()
  }

  /** It goes to a pool, or will wait before it, or is refused there: the pool knows whose it is. */
  entered(call: Call, linked: LinkedPool): void {
    this.#labels.label(call, linked)
  }

  /** A pick is over that began at `startedAt`; `times`: it was in the sample. */
  picked(call: Call, linked: LinkedPool, status: PickStatus, startedAt: number, times?: PickTimes): void {
    this.#picks.picked(call, linked, status, startedAt, times)
  }

  /** The request is sent on. */
  routed(x: Exchange, call: Call, linked: LinkedPool | undefined): void {
    const measured = this.#begin(x, call, linked)
    measured.routed = true
    this.#seeModel(call)
    // No response will tell us whether an engine knows the model.
    if (!x.decider.followsResponse) this.#names.suspect(measured)
    measured.running = this.#writer.series(Family.RUNNING, measured.labels)
    this.#writer.add(measured.running)
    if (linked === undefined || call.rewritten === undefined) return
    const rewrite = rewriteOf(linked.plan.rewrites, call.model)
    const name = call.rewriteTo === undefined ? (rewrite?.name ?? '') : 'header'
    this.#writer.count(Family.REWRITES, [name, measured.labels[0], measured.labels[1]])
  }

  /** The request is answered with an error of ours, or with one of the engine's. */
  refused(x: Exchange, call: Call, code: string): void {
    const measured = this.#begin(x, call, undefined)
    if (!measured.routed) this.#seeModel(call)
    this.#fail(measured, code)
  }

  /** It came to the queues of a pool at `startedAt`; `problem`: it was refused at once, `waits`: it is in one. */
  queued(
    x: Exchange,
    call: Call,
    linked: LinkedPool,
    startedAt: number,
    { waits, problem }: { readonly waits: boolean; readonly problem: OpenAiProblem | undefined },
  ): void {
    const writer = this.#writer
    const measured = this.#labels.label(call, linked)
    const [model, target, fairnessId, priority] = measured.labels
    const told = waits ? 'NotYetFinalized' : FLOW_OUTCOMES[queueOutcome(problem, false)]
    this.#writer.note(Family.ENQUEUE, [fairnessId, priority, told], (this.#now() - startedAt) / 1000)
    measured.queuedAt = startedAt
    measured.pool = linked.plan.name
    if (!waits) return this.#leave(measured, queueOutcome(problem, false))
    const labels = [fairnessId, priority, linked.plan.name, model, target]
    measured.queued = writer.series(Family.QUEUED, labels)
    measured.queuedBytes = writer.series(Family.QUEUED_BYTES, labels)
    measured.bytesQueued = Math.max(x.contentLength, x.bodyBytes, 0)
    writer.add(measured.queued)
    writer.add(measured.queuedBytes, measured.bytesQueued)
  }

  /** It waits no longer; `problem`: it is refused. */
  left(call: Call, problem: OpenAiProblem | undefined): void {
    if (call.measured !== undefined) this.#leave(call.measured, queueOutcome(problem, true))
  }

  /** The response's headers have come. */
  responseHeaders(call: Call, headers: HeaderView): void {
    const { measured } = call
    if (measured === undefined || !measured.routed) return
    const status = Number(headers.common(STATUS) ?? 0)
    if (status >= 400) this.#fail(measured, MODEL_SERVER_ERROR)
    else if (status >= 200 && status < 300) this.#names.prove(measured)
    measured.streams = responseKindOf(headers) === ResponseKind.EVENTS
    measured.length = headers.decimal(CONTENT_LENGTH)
    measured.headersAt = this.#now()
  }

  /** A piece of the response's body. Returns the time, 0: it is of no interest. */
  responseBody(x: Exchange, call: Call, bytes: number): number {
    const { measured } = call
    if (measured === undefined || !measured.routed || bytes === 0) return 0
    const now = this.#now()
    const writer = this.#writer
    measured.unread = false
    measured.bytes += bytes
    if (measured.firstAt === 0) {
      measured.firstAt = now
      const cell = writer.series(Family.TTFT, [...measured.labels, String(measured.streams)])
      writer.observe(Family.TTFT, cell, (now - x.startedAt) / 1000)
    } else if (measured.streams) {
      writer.observe(Family.ITL, writer.series(Family.ITL, measured.labels), (now - measured.chunkAt) / 1000)
    }
    measured.chunkAt = now
    return now
  }

  /** We have worked on a piece since `startedAt`. */
  worked({ measured }: Call, startedAt: number): void {
    if (measured !== undefined) measured.workMs += this.#now() - startedAt
  }

  /** Counts the tokens of a response that is over: the usage is known before its end is told. */
  used({ measured }: Call, usage: Usage): void {
    if (measured === undefined || !measured.routed) return
    const { labels } = measured
    if (usage.input >= 0) this.#writer.note(Family.INPUT_TOKENS, labels, usage.input)
    if (usage.cached >= 0) this.#writer.note(Family.CACHED_TOKENS, labels, usage.cached)
    if (usage.output < 0) return
    this.#writer.note(Family.OUTPUT_TOKENS, labels, usage.output)
    if (usage.output > 0)
      this.#writer.note(Family.NTPOT, labels, (this.#now() - measured.startedAt) / 1000 / usage.output)
    if (!measured.streams || usage.output < 2 || measured.firstAt === 0) return
    this.#writer.note(Family.TPOT, labels, (measured.chunkAt - measured.firstAt) / 1000 / (usage.output - 1))
  }

  /** The response is over. */
  responseEnd(x: Exchange, call: Call): void {
    const { measured } = call
    if (measured === undefined || !measured.routed || measured.over) return
    measured.over = true
    const { labels } = measured
    const now = this.#now()
    this.#writer.note(Family.DURATION, labels, (now - x.startedAt) / 1000)
    const worked = measured.streams ? measured.workMs : now - measured.headersAt
    this.#writer.observe(Family.RESPONSE_PROCESSING, this.#responseProcessing, worked / 1000)
    const bytes = measured.unread ? measured.length : measured.bytes
    if (bytes >= 0) this.#writer.note(Family.RESPONSE_BYTES, labels, bytes)
  }

  /** The stream is over: whatever rose for it falls. */
  closed(x: Exchange, call: Call): void {
    const { measured } = call
    if (measured === undefined) return
    const writer = this.#writer
    if (measured.routed) {
      const bytes = Math.max(x.bodyBytes, x.contentLength)
      if (bytes >= 0) this.#writer.note(Family.REQUEST_BYTES, measured.labels, bytes)
    }
    if (measured.running >= 0) writer.add(measured.running, -1)
    if (measured.inFlight >= 0) {
      writer.add(measured.inFlight, -1)
      writer.add(measured.inFlightTokens, -measured.tokens)
    }
    this.#leave(measured, FlowOutcome.EVICTED_CONTEXT_CANCELLED)
    measured.clear()
  }

  #leave(measured: Measured, outcome: FlowOutcome): void {
    if (measured.queuedAt === 0) return
    const [model, target, fairnessId, priority] = measured.labels
    const labels = [fairnessId, priority, FLOW_OUTCOMES[outcome], measured.pool, model, target]
    this.#writer.note(Family.QUEUE_WAIT, labels, (this.#now() - measured.queuedAt) / 1000)
    measured.queuedAt = 0
    if (measured.queued < 0) return
    this.#writer.add(measured.queued, -1)
    this.#writer.add(measured.queuedBytes, -measured.bytesQueued)
    measured.queued = -1
  }

  /** The request, with its labels, counted once. */
  #begin(x: Exchange, call: Call, linked: LinkedPool | undefined): Measured {
    const measured = this.#labels.label(call, linked)
    if (measured.counted) return measured
    measured.counted = true
    measured.startedAt = x.startedAt
    this.#writer.count(Family.REQUESTS, measured.labels)
    this.#writer.observe(Family.PROCESSING, this.#processing, (this.#now() - x.startedAt) / 1000)
    return measured
  }

  #fail({ labels }: Measured, code: string): void {
    this.#writer.count(Family.ERRORS, [...labels, code])
  }

  /** What a body-based router counts. */
  #seeModel(call: Call): void {
    if (!call.facts.hasBody || call.unreadable) return
    if (call.model === undefined) this.#writer.count(Family.MODELS_MISSING, ['model'])
    else if (call.model === '') this.#writer.count(Family.MODELS_EMPTY, ['model'])
    else this.#writer.count(Family.MODELS_READ, [])
  }
}
