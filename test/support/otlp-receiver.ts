/** Who collects traces: OTLP over gRPC and over HTTP, on ports of their own. Understands as much of it as tests ask about. */
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js'
import protobuf from 'protobufjs'

export interface ReceivedSpan {
  readonly traceId: string
  readonly spanId: string
  /** '' = it is a root. */
  readonly parentSpanId: string
  readonly name: string
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number
  /** Unix ns. */
  readonly startedAt: bigint
  readonly endedAt: bigint
  readonly attributes: Readonly<Record<string, unknown>>
  /** 2 = error. */
  readonly status: number
  /** Attributes of the resource. */
  readonly resource: Readonly<Record<string, unknown>>
  readonly over: 'grpc' | 'http'
}

const SCHEMA = `
syntax = "proto3";
message Request { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeSpans { repeated Span spans = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
  fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; Status status = 15;
}
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; ArrayValue array_value = 5; } }
message ArrayValue { repeated AnyValue values = 1; }
`
const REQUEST = protobuf.parse(SCHEMA).root.lookupType('Request')

interface RawValue {
  readonly stringValue?: string
  readonly boolValue?: boolean
  readonly intValue?: string
  readonly doubleValue?: number
  readonly arrayValue?: { readonly values?: readonly RawValue[] }
}
type RawAttributes = readonly { readonly key: string; readonly value?: RawValue }[]
interface RawRequest {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: RawAttributes }
    readonly scopeSpans?: readonly {
      readonly spans?: readonly {
        readonly traceId: string
        readonly spanId: string
        readonly parentSpanId?: string
        readonly name: string
        readonly kind?: number
        readonly startTimeUnixNano: string
        readonly endTimeUnixNano: string
        readonly attributes?: RawAttributes
        readonly status?: { readonly code?: number }
      }[]
    }[]
  }[]
}

export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = []
  readonly #grpc: GrpcServer
  readonly #http: HttpServer
  grpcPort = 0

  static async start(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver()
    await receiver.#listen()
    return receiver
  }

  private constructor() {
    const identity = (bytes: Buffer) => bytes
    this.#grpc = new GrpcServer()
    this.#grpc.addService(
      {
        export: {
          path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
          requestStream: false,
          responseStream: false,
          requestDeserialize: identity,
          requestSerialize: identity,
          responseDeserialize: identity,
          responseSerialize: identity,
        },
      },
      {
        export: (call: { request: Buffer }, done: (error: null, answer: Buffer) => void) => {
          this.#take(call.request, 'grpc')
          done(null, Buffer.alloc(0))
        },
      },
    )
    this.#http = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const body = Buffer.concat(chunks)
        const known = request.method === 'POST' && request.url === '/v1/traces'
        if (known) this.#take(request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body, 'http')
        response.writeHead(known ? 200 : 404, { 'content-type': 'application/x-protobuf' }).end()
      })
    })
  }

  get grpcUrl(): string {
    return `http://127.0.0.1:${this.grpcPort}`
  }

  get httpUrl(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`
  }

  /** Those of one trace, the earliest first. */
  trace(traceId: string): ReceivedSpan[] {
    const spans = this.spans.filter(span => span.traceId === traceId)
    return spans.sort((a, b) => Number(a.startedAt - b.startedAt))
  }

  async close(): Promise<void> {
    this.#grpc.forceShutdown()
    this.#http.closeAllConnections()
    await new Promise(resolve => this.#http.close(resolve))
  }

  async #listen(): Promise<void> {
    this.grpcPort = await new Promise((resolve, reject) => {
      this.#grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      )
    })
    await new Promise<void>(resolve => this.#http.listen(0, '127.0.0.1', resolve))
  }

  #take(bytes: Buffer, over: ReceivedSpan['over']): void {
    const hex = (base64: string | undefined) => Buffer.from(base64 ?? '', 'base64').toString('hex')
    const { resourceSpans = [] } = REQUEST.toObject(REQUEST.decode(bytes), {
      longs: String,
      bytes: String,
    }) as RawRequest
    for (const { resource, scopeSpans = [] } of resourceSpans) {
      for (const span of scopeSpans.flatMap(({ spans = [] }) => spans)) {
        this.spans.push({
          traceId: hex(span.traceId),
          spanId: hex(span.spanId),
          parentSpanId: hex(span.parentSpanId),
          name: span.name,
          kind: span.kind ?? 0,
          startedAt: BigInt(span.startTimeUnixNano),
          endedAt: BigInt(span.endTimeUnixNano),
          attributes: read(span.attributes),
          status: span.status?.code ?? 0,
          resource: read(resource?.attributes),
          over,
        })
      }
    }
  }
}

function read(attributes: RawAttributes = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, valueOf(value)]))
}

function valueOf(value: RawValue | undefined): unknown {
  if (value?.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(valueOf)
  if (value?.intValue !== undefined) return Number(value.intValue)
  return value?.stringValue ?? value?.boolValue ?? value?.doubleValue
}
