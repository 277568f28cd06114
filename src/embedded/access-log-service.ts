/**
 * The client of Envoy's gRPC access log service: finished requests are reported in batches. Best effort, as in Envoy: entries
 * that can't be sent are dropped, not kept.
 */
import { type ClientHttp2Stream, constants } from 'node:http2'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import {
  HTTPAccessLogEntry_HTTPVersion as Version,
  type HTTPAccessLogEntrySchema,
} from '../gen/envoy/data/accesslog/v3/accesslog_pb.ts'
import { RequestMethod } from '../gen/envoy/config/core/v3/base_pb.ts'
import type { AddressSchema } from '../gen/envoy/config/core/v3/address_pb.ts'
import { StreamAccessLogsMessageSchema } from '../gen/envoy/service/accesslog/v3/als_pb.ts'
import type { LogRecord } from './access-log.ts'
import type { GrpcLog } from './configuration.ts'
import type { Endpoint } from './endpoint.ts'
import type { HeaderList } from './header-list.ts'

type Entry = MessageInitShape<typeof HTTPAccessLogEntrySchema>

const PATH = '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs'
/** Entries that wait for a connection; more are dropped. */
const MAX_WAITING = 10_000

export class AccessLogService {
  readonly #log: GrpcLog
  readonly #endpoint: () => Endpoint | undefined
  readonly #node: { readonly id: string; readonly cluster: string }
  #waiting: Entry[] = []
  #timer: NodeJS.Timeout | undefined
  #stream: ClientHttp2Stream | undefined

  constructor(
    log: GrpcLog,
    node: { readonly id: string; readonly cluster: string },
    endpoint: () => Endpoint | undefined,
  ) {
    this.#log = log
    this.#node = node
    this.#endpoint = endpoint
  }

  add(record: LogRecord): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(entryOf(record, this.#log))
    this.#timer ??= setTimeout(() => this.flush(), this.#log.flushMs).unref()
  }

  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const logEntry = this.#waiting
    if (logEntry.length === 0) return
    this.#waiting = []
    const stream = this.#stream ?? this.#open()
    if (stream === undefined) return
    const first = this.#stream === undefined
    this.#stream = stream
    const message = create(StreamAccessLogsMessageSchema, {
      ...(first ? { identifier: { node: this.#node, logName: this.#log.logName } } : {}),
      logEntries: { case: 'httpLogs', value: { logEntry } },
    })
    const body = toBinary(StreamAccessLogsMessageSchema, message)
    const head = Buffer.alloc(5)
    head.writeUInt32BE(body.length, 1)
    stream.write(Buffer.concat([head, body]))
  }

  #open(): ClientHttp2Stream | undefined {
    const session = this.#endpoint()?.session
    if (session === undefined) return undefined
    const stream = session.request({
      ':method': 'POST',
      ':path': PATH,
      ':authority': this.#log.cluster,
      te: 'trailers',
      'content-type': 'application/grpc',
    })
    const forget = (): void => {
      if (this.#stream === stream) this.#stream = undefined
    }
    stream.on('error', forget)
    stream.on('close', forget)
    stream.on('end', forget)
    stream.resume()
    return stream
  }

  /** Sends what waits and ends the stream. */
  close(): void {
    this.flush()
    this.#stream?.end()
  }

  destroy(): void {
    clearTimeout(this.#timer)
    this.#stream?.close(constants.NGHTTP2_CANCEL)
  }
}

const VERSIONS: Readonly<Record<string, Version>> = {
  'HTTP/1.0': Version.HTTP10,
  'HTTP/1.1': Version.HTTP11,
  'HTTP/2': Version.HTTP2,
}

function entryOf(record: LogRecord, log: GrpcLog): Entry {
  const header = (name: string): string => record.requestHeaders.get(name) ?? ''
  const method = RequestMethod[header(':method') as keyof typeof RequestMethod] ?? RequestMethod.METHOD_UNSPECIFIED
  const upstreamRemoteAddress = addressOf(record.upstreamHost)
  const downstreamRemoteAddress = addressOf(record.downstreamRemote)
  return {
    commonProperties: {
      startTime: timestampFromDate(record.startedAt),
      duration: durationOf(record.durationMs),
      ...(record.responseMs === undefined ? {} : { timeToFirstUpstreamRxByte: durationOf(record.responseMs) }),
      ...(upstreamRemoteAddress === undefined ? {} : { upstreamRemoteAddress }),
      ...(downstreamRemoteAddress === undefined ? {} : { downstreamRemoteAddress }),
      upstreamCluster: record.upstreamCluster ?? '',
      metadata: { filterMetadata: Object.fromEntries(record.metadata) },
      routeName: record.routeName ?? '',
      upstreamRequestAttemptCount: record.upstreamAttempts,
      streamId: header('x-request-id'),
    },
    protocolVersion: VERSIONS[record.protocol] ?? Version.PROTOCOL_UNSPECIFIED,
    request: {
      requestMethod: method,
      scheme: header(':scheme'),
      authority: header(':authority'),
      path: header(':path'),
      originalPath: record.originalPath,
      userAgent: header('user-agent'),
      referer: header('referer'),
      forwardedFor: header('x-forwarded-for'),
      requestId: header('x-request-id'),
      requestBodyBytes: BigInt(record.bytesReceived),
    },
    response: {
      responseCode: record.status,
      responseBodyBytes: BigInt(record.bytesSent),
      responseCodeDetails: record.details,
      responseHeaders: those(log.responseHeaders, record.responseHeaders),
      responseTrailers: those(log.responseTrailers, record.responseTrailers),
    },
  }
}

function durationOf(ms: number): { readonly seconds: bigint; readonly nanos: number } {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.round((ms % 1000) * 1e6) }
}

function those(names: readonly string[], headers: HeaderList | undefined): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of names) {
    const value = headers?.get(name.toLowerCase())
    if (value !== undefined) found[name.toLowerCase()] = value
  }
  return found
}

function addressOf(text: string | undefined): MessageInitShape<typeof AddressSchema> | undefined {
  const found = /^\[?(.+?)\]?:(\d+)$/.exec(text ?? '')
  if (found === null)
    return text?.startsWith('/') === true ? { address: { case: 'pipe', value: { path: text } } } : undefined
  return {
    address: {
      case: 'socketAddress',
      value: { address: found[1] ?? '', portSpecifier: { case: 'portValue', value: Number(found[2]) } },
    },
  }
}
