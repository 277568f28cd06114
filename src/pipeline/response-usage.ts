import type { Exchange } from '../extproc/exchange.ts'
import type { HeaderView } from '../extproc/header-view.ts'
import type { FlowControl } from '../inference/flow-control/flow-control.ts'
import { serviceOf } from '../inference/flow-control/program-aware-fairness.ts'
import type { PoolPlan } from '../inference/pool-plan.ts'
import type { Pool } from '../inference/pool.ts'
import { createUsageReport, type UsageReport } from '../inference/usage-report.ts'
import type { Usage } from '../llm/usage.ts'
import { GrpcUsageReader } from '../llm/grpc-usage-reader.ts'
import { UsageReader } from '../llm/usage-reader.ts'
import { responseKindOf, ResponseKind } from './body-kind.ts'
import type { Call } from './call.ts'

const EMBED = '/Embed'

/** Told of each response whose usage is known, once, when it is over and before the exchange ends. */
export interface UsageSink {
  used(call: Call, usage: Usage): void
}

/** What a request is remembered by until its usage is known. */
export interface UsageOwner {
  readonly flow: FlowControl
  readonly priority: number
  readonly fairnessId: string
  /** Bytes that were counted for it when it was sent on. */
  readonly countedBytes: number
}

/**
 * What a pool wants to know of responses: their usage, for reports to the gateway, for fairness by tokens and for `sink`; and when the first
 * event of a stream comes. Where it wants nothing of a response, its body is not read. One object per linked pool and thread.
 */
export class ResponseUsage {
  readonly #pool: Pool
  readonly #reports: readonly UsageReport[]
  readonly #sink: UsageSink | undefined

  /** @throws Error for an expression that is no CEL */
  constructor(plan: PoolPlan, pool: Pool, sink: UsageSink | undefined) {
    this.#pool = pool
    this.#reports = (plan.scheduling.usageReports ?? []).map(createUsageReport)
    this.#sink = sink
  }

  /** Response headers have come. */
  begin(x: Exchange, call: Call, headers: HeaderView): void {
    const wantsUsage = this.#reports.length > 0 || this.#sink !== undefined || call.owner !== undefined
    const countsTokens = call.picked.tokens > call.picked.answerTokens
    if (!wantsUsage && !countsTokens) return
    const { api } = call
    const kind = responseKindOf(headers)
    if (api?.plainResponse === true || (kind === ResponseKind.OTHER && api?.grpc === undefined)) return
    // Messages of a gRPC response come one by one too.
    const streams = kind === ResponseKind.EVENTS || api?.grpc !== undefined
    call.releasesPrompt = streams && countsTokens
    if (wantsUsage) call.readsUsage = this.#reader(call, streams)
    if (wantsUsage || streams) x.readsResponse = true
  }

  #reader(call: Call, streams: boolean): UsageReader | GrpcUsageReader {
    const grpc = call.api?.grpc
    if (grpc !== undefined) {
      call.grpcUsage ??= new GrpcUsageReader()
      call.grpcUsage.begin(grpc, call.path.slice(0, call.pathEnd).endsWith(EMBED))
      return call.grpcUsage
    }
    call.usage ??= new UsageReader()
    call.usage.begin(streams)
    return call.usage
  }

  /** A piece of the body, which may be the last; only for calls that `begin` has prepared. */
  read(x: Exchange, call: Call, bytes: Uint8Array, start: number, end: number): void {
    if (call.releasesPrompt && end > start) {
      call.releasesPrompt = false
      if (call.counted === this.#pool) this.#pool.inFlight.releasePrompt(call.picked)
    }
    const reader = call.readsUsage
    if (reader === undefined) {
      // That was all there is to know.
      x.readsResponse = x.editsResponse
      return
    }
    reader.feed(bytes, start, end)
    if (!x.responseEnds) return
    this.over(call)
    if (this.#reports.length > 0) this.#report(x, reader.usage)
  }

  /** The response is over, or the stream is. */
  over(call: Call): void {
    const reader = call.readsUsage
    if (reader === undefined) return
    call.readsUsage = undefined
    reader.end()
    const { usage } = reader
    if (!usage.known) return
    this.#sink?.used(call, usage)
    if (call.owner === undefined) return
    const { flow, priority, fairnessId, countedBytes } = call.owner
    flow.used(priority, fairnessId, serviceOf(usage.input, usage.output, countedBytes))
  }

  #report(x: Exchange, counts: Usage): void {
    if (!counts.known) return
    const numbers = new Map<string, Map<string, number>>()
    for (const { namespace, name, of } of this.#reports) {
      const value = of(counts)
      if (value === undefined) continue
      const fields = numbers.get(namespace)
      if (fields === undefined) numbers.set(namespace, new Map([[name, value]]))
      else fields.set(name, value)
    }
    if (numbers.size > 0) x.responseNumbers = numbers
  }
}
