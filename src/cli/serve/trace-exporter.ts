/**
 * Sends finished spans to whoever collects them, by OpenTelemetry's own exporters, which are loaded only when there is a trace to send. Lives on
 * the main thread; a batch that nobody takes is dropped and told.
 */
import type { HrTime, SpanContext } from '@opentelemetry/api'
import type { Resource } from '@opentelemetry/resources'
import type { BatchSpanProcessor, ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace'
import type { Log } from '../../telemetry/log.ts'
import type { FinishedSpan } from '../../telemetry/span.ts'
import type { TracingSettings } from './tracing-options.ts'

/** Flags of a span context: sampled. */
const SAMPLED = 1
const KINDS = { internal: 0, server: 1 } as const
const SUCCESS = 0
const UNSET = 0
const ERROR = 2
const SCOPE = { name: 'signalbox' }

export class TraceExporter {
  readonly #processor: BatchSpanProcessor
  readonly #resource: Resource
  readonly #log: Pick<Log, 'warn'>

  /** Rejects for settings of the environment that its exporter does not take. */
  static async start(settings: TracingSettings, version: string, log: Pick<Log, 'warn'>): Promise<TraceExporter> {
    const [{ BatchSpanProcessor: Processor }, resources, exporter] = await Promise.all([
      import('@opentelemetry/sdk-trace'),
      import('@opentelemetry/resources'),
      createExporter(settings),
    ])
    const detected = resources.detectResources({ detectors: [resources.envDetector] })
    await detected.waitForAsyncAttributes?.()
    const resource = detected.merge(
      resources.resourceFromAttributes({ 'service.name': settings.serviceName, 'service.version': version }),
    )
    return new TraceExporter(new Processor({ exporter: telling(exporter, log), ...settings.batches }), resource, log)
  }

  private constructor(processor: BatchSpanProcessor, resource: Resource, log: Pick<Log, 'warn'>) {
    this.#processor = processor
    this.#resource = resource
    this.#log = log
  }

  take(spans: readonly FinishedSpan[]): void {
    for (const span of spans) this.#processor.onEnd(readable(span, this.#resource))
  }

  /** Sends what is left; what can't be sent is told and given up. */
  async stop(): Promise<void> {
    try {
      await this.#processor.shutdown()
    } catch (error) {
      this.#log.warn({ why: reasonOf(error) }, 'the last traces are not sent')
    }
  }
}

/** Tells when batches begin to be lost, and when they are taken again; a batch that is lost is no error for anybody else. */
function telling(exporter: SpanExporter, log: Pick<Log, 'warn'>): SpanExporter {
  let losing = false
  return {
    export: (spans, done) =>
      exporter.export(spans, ({ code, error }) => {
        const status: number = code
        const lost = status !== SUCCESS
        if (lost && !losing) log.warn({ why: reasonOf(error) }, 'traces are lost: the collector does not take them')
        else if (losing && !lost) log.warn('the collector takes traces again')
        losing = lost
        done({ code: SUCCESS })
      }),
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => await exporter.forceFlush?.(),
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'no reason is given'
}

async function createExporter({ exporter, endpoint }: TracingSettings): Promise<SpanExporter> {
  if (exporter === 'console') return new (await import('@opentelemetry/sdk-trace')).ConsoleSpanExporter()
  const { OTLPTraceExporter } =
    exporter === 'grpc'
      ? await import('@opentelemetry/exporter-trace-otlp-grpc')
      : await import('@opentelemetry/exporter-trace-otlp-proto')
  if (endpoint === undefined) return new OTLPTraceExporter()
  const path = exporter === 'grpc' || new URL(endpoint).pathname !== '/' ? '' : '/v1/traces'
  return new OTLPTraceExporter({ url: `${endpoint.replace(/\/$/, '')}${path}` })
}

function readable(span: FinishedSpan, resource: Resource): ReadableSpan {
  const { traceId, spanId, parentSpanId, startedAt, endedAt, error } = span
  const context: SpanContext = { traceId, spanId, traceFlags: SAMPLED }
  return {
    name: span.name,
    kind: KINDS[span.kind],
    spanContext: () => context,
    ...(parentSpanId === undefined
      ? {}
      : {
          parentSpanContext: {
            traceId,
            spanId: parentSpanId,
            traceFlags: SAMPLED,
            isRemote: span.remoteParent === true,
          },
        }),
    startTime: hrTime(startedAt),
    endTime: hrTime(endedAt),
    duration: hrTime(Math.max(0, endedAt - startedAt)),
    status: error === undefined ? { code: UNSET } : { code: ERROR, message: error },
    attributes: span.attributes,
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  }
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000)
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)]
}
