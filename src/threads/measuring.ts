/** What a thread measures for metrics and traces. Parts that are off cost nothing. */
import { Observers } from '../pipeline/observers.ts'
import { Family, REQUEST_FAMILIES } from '../pipeline/request-families.ts'
import { RequestMetrics, type RequestMetricsOptions } from '../pipeline/request-metrics.ts'
import { RequestTracer } from '../pipeline/request-trace.ts'
import type { SamplerPlan } from '../telemetry/sampler.ts'
import { SeriesWriter } from '../telemetry/shared-series.ts'
import type { FinishedSpan } from '../telemetry/span.ts'
import type { StreamOver } from './measured-streams.ts'

/** Plain data, for every thread. */
export interface MeasuringOptions {
  readonly requests?: RequestMetricsOptions | undefined
  /** ext_proc streams are counted by status and timed. */
  readonly streams?: boolean | undefined
  readonly traces?: SamplerPlan | undefined
}

/** Whether it needs memory, made by `createSeriesMemory`. */
export function counts({ requests, streams }: MeasuringOptions): boolean {
  return requests !== undefined || streams === true
}

export interface Measuring {
  /** Undefined: nobody looks on while requests are decided. */
  readonly observers: Observers | undefined
  /** Undefined: streams are not timed. */
  readonly streamOver: StreamOver | undefined
}

/** @param send takes the spans of a request that is over */
export function startMeasuring(
  { requests, streams, traces }: MeasuringOptions,
  memory: SharedArrayBuffer | undefined,
  send: (spans: readonly FinishedSpan[]) => void,
): Measuring {
  const writer = memory === undefined ? undefined : new SeriesWriter(REQUEST_FAMILIES, memory)
  const metrics = requests === undefined || writer === undefined ? undefined : new RequestMetrics(writer, requests)
  const tracer = traces === undefined ? undefined : new RequestTracer(traces, send)
  return {
    observers: metrics === undefined && tracer === undefined ? undefined : new Observers(metrics, tracer),
    streamOver: streams !== true || writer === undefined ? undefined : timeStreams(writer),
  }
}

function timeStreams(writer: SeriesWriter): StreamOver {
  const duration = writer.series(Family.STREAM_DURATION, [])
  return (code, seconds) => {
    writer.add(writer.series(Family.STREAMS, [code]))
    writer.observe(Family.STREAM_DURATION, duration, seconds)
  }
}
