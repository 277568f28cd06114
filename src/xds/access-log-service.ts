/**
 * Envoy's gRPC access log (`envoy.service.accesslog.v3.AccessLogService`), read for two purposes: which request ended where it was
 * served, and what the replica said of its load then. An entry has dozens of fields; all but the few below are skipped by their length.
 */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { REPORT_HEADER, REPORT_HEADER_BINARY } from '../inference/load-report.ts'
import { type sendUnaryData, type ServerReadableStream, status } from '@grpc/grpc-js'

/** What our decision left in the dynamic metadata `signalbox`, and what Envoy did. */
export interface AccessLogEntry {
  /** The endpoint that was picked. */
  readonly endpoint?: string
  /** `namespace/name` of the pool that it was picked from. */
  readonly pool?: string
  /** `ip:port` (IPv6 in brackets) of the last attempt, or the path of a socket. */
  readonly upstream?: string
  /** From the request's first byte to its end, ms. */
  readonly durationMs?: number
  /** The replica's load report, as a header's or trailer's value: as text, or of the binary one. */
  readonly report?: string
  readonly binaryReport?: string
  /** Of the report when the request ended, ms: headers come before. */
  readonly reportAgeMs?: number
}

export type AccessLogCall = ServerReadableStream<Uint8Array, Uint8Array>
export type AccessLogDone = sendUnaryData<Uint8Array>

const METADATA_NAMESPACE = 'signalbox'

const EMPTY = new Uint8Array()

/** Field numbers on the path to what is read. */
const Message = { HTTP_LOGS: 2 } as const
const HttpLogs = { LOG_ENTRY: 1 } as const
const HttpEntry = { COMMON_PROPERTIES: 1, RESPONSE: 4 } as const
const Response = { HEADERS: 4, TRAILERS: 5 } as const
const Common = { FIRST_UPSTREAM_BYTE: 9, UPSTREAM_REMOTE_ADDRESS: 13, METADATA: 17, DURATION: 23 } as const
const Duration = { SECONDS: 1, NANOS: 2 } as const
const Metadata = { FILTER_METADATA: 1 } as const
const Struct = { FIELDS: 1 } as const
const Value = { STRING: 3 } as const
const Address = { SOCKET: 1, PIPE: 2 } as const
const SocketAddress = { ADDRESS: 2, PORT: 3 } as const
const Pipe = { PATH: 1 } as const
const MapEntry = { KEY: 1, VALUE: 2 } as const

/** Serves one stream of entries. A malformed message ends it with INVALID_ARGUMENT; Envoy opens another. */
export function acceptAccessLogs(
  call: AccessLogCall,
  done: AccessLogDone,
  onEntry: (entry: AccessLogEntry) => void,
): void {
  let over = false
  const finish: AccessLogDone = (error, answer) => {
    if (!over) done(error, answer)
    over = true
  }
  call.on('data', (message: Uint8Array) => {
    if (over) return
    let entries: AccessLogEntry[]
    try {
      entries = readAccessLogs(message)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      finish({ code: status.INVALID_ARGUMENT, details: `not a StreamAccessLogsMessage: ${reason}` })
      return
    }
    entries.forEach(onEntry)
  })
  call.on('end', () => finish(null, EMPTY))
  // Nothing to do: the other side is gone, and entries that it kept come with its next stream.
  call.on('error', () => undefined)
}

/** The HTTP entries of a `StreamAccessLogsMessage`, in order. Throws when the bytes are no protobuf message. */
export function readAccessLogs(message: Uint8Array): AccessLogEntry[] {
  const entries: AccessLogEntry[] = []
  eachPart(message, Message.HTTP_LOGS, logs => {
    eachPart(logs, HttpLogs.LOG_ENTRY, entry => entries.push(readEntry(entry)))
  })
  return entries
}

function readEntry(bytes: Uint8Array): AccessLogEntry {
  const entry: { -readonly [Field in keyof AccessLogEntry]: AccessLogEntry[Field] } = {}
  let headersAfterMs: number | undefined
  eachPart(bytes, HttpEntry.COMMON_PROPERTIES, common => {
    eachPart(common, Common.UPSTREAM_REMOTE_ADDRESS, address => {
      const upstream = readAddress(address)
      if (upstream !== '') entry.upstream = upstream
    })
    eachPart(common, Common.FIRST_UPSTREAM_BYTE, duration => (headersAfterMs = readDuration(duration)))
    eachPart(common, Common.DURATION, duration => (entry.durationMs = readDuration(duration)))
    eachPart(common, Common.METADATA, metadata => {
      eachPart(metadata, Metadata.FILTER_METADATA, item => {
        const [namespace, struct] = readMapEntry(item)
        if (namespace !== METADATA_NAMESPACE) return
        eachPart(struct, Struct.FIELDS, field => {
          const [key, value] = readMapEntry(field)
          if (key === 'endpoint' || key === 'pool') eachPart(value, Value.STRING, text => (entry[key] = decode(text)))
        })
      })
    })
  })
  eachPart(bytes, HttpEntry.RESPONSE, response => {
    // Trailers are the newer ones: where they have a report, in whichever form, that of the headers is out.
    for (const [field, age] of [
      [Response.HEADERS, Math.max(0, (entry.durationMs ?? 0) - (headersAfterMs ?? entry.durationMs ?? 0))],
      [Response.TRAILERS, 0],
    ] as const) {
      const reports: Pick<typeof entry, 'report' | 'binaryReport'> = {}
      eachPart(response, field, item => {
        const [name, value] = readMapEntry(item)
        const key = REPORTS[name]
        if (key !== undefined) reports[key] = decode(value)
      })
      if (reports.report === undefined && reports.binaryReport === undefined) continue
      delete entry.report
      delete entry.binaryReport
      Object.assign(entry, reports, { reportAgeMs: age })
    }
  })
  return entry
}

const REPORTS: Readonly<Record<string, 'report' | 'binaryReport'>> = {
  [REPORT_HEADER]: 'report',
  [REPORT_HEADER_BINARY]: 'binaryReport',
}

/** In ms. */
function readDuration(bytes: Uint8Array): number {
  let milliseconds = 0
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag()
    if (field === Duration.SECONDS) milliseconds += Number(reader.int64()) * 1000
    else if (field === Duration.NANOS) milliseconds += reader.int32() / 1e6
    else reader.skip(wireType, field)
  }
  return milliseconds
}

function readAddress(bytes: Uint8Array): string {
  let text = ''
  eachPart(bytes, Address.PIPE, pipe => eachPart(pipe, Pipe.PATH, path => (text = decode(path))))
  eachPart(bytes, Address.SOCKET, socket => {
    let host = ''
    let port = 0
    const reader = new BinaryReader(socket)
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag()
      if (field === SocketAddress.ADDRESS) host = reader.string()
      else if (field === SocketAddress.PORT) port = reader.uint32()
      else reader.skip(wireType, field)
    }
    text = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  })
  return text
}

function readMapEntry(bytes: Uint8Array): [key: string, value: Uint8Array] {
  let key = ''
  let value: Uint8Array = EMPTY
  eachPart(bytes, MapEntry.KEY, part => (key = decode(part)))
  eachPart(bytes, MapEntry.VALUE, part => (value = part))
  return [key, value]
}

/** Calls `visit` for each length-delimited occurrence of `field`; everything else is skipped. Nothing is copied. */
function eachPart(bytes: Uint8Array, field: number, visit: (part: Uint8Array) => void): void {
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag()
    if (number === field && wireType === WireType.LengthDelimited) visit(reader.bytes())
    else reader.skip(wireType, number)
  }
}

const decoder = new TextDecoder()

function decode(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}
