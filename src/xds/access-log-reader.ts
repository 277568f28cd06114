import { Buffer } from 'node:buffer'
import { TextCache } from '../body/text-cache.ts'
import { REPORT_HEADER, REPORT_HEADER_BINARY } from '../inference/load-report.ts'
import { WireFields } from './wire-fields.ts'

/**
 * Reads `envoy.service.accesslog.v3.StreamAccessLogsMessage`: one entry for each request of our fleet, with dozens of fields, of which all but
 * the few below are skipped by their length. By position, as ext_proc's messages (../extproc/decode-request.ts): nothing is copied or decoded that is not wanted.
 *
 * Budget: 1.3 µs for an entry of 650 B; a reader object a message and a text decoder took ten times as long.
 */

/** What our decision left in the dynamic metadata `signalbox`, and what Envoy did. */
export interface AccessLogEntry {
  /** The endpoint that was picked. */
  readonly endpoint?: string | undefined
  /** `namespace/name` of the pool that it was picked from. */
  readonly pool?: string | undefined
  /** `ip:port` (IPv6 in brackets) of the last attempt, or the path of a socket. */
  readonly upstream?: string | undefined
  /** From the request's first byte to its end, ms. */
  readonly durationMs?: number | undefined
  /** The replica's load report, as a header's or trailer's value: as text, or of the binary one. */
  readonly report?: string | undefined
  readonly binaryReport?: string | undefined
  /** Of the report when the request ended, ms: headers come before. */
  readonly reportAgeMs?: number | undefined
}

/** Field numbers on the path to what is read (envoy/data/accesslog/v3/accesslog.proto). */
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

const METADATA_NAMESPACE = Buffer.from('signalbox')
const ENDPOINT = Buffer.from('endpoint')
const POOL = Buffer.from('pool')
const REPORT = Buffer.from(REPORT_HEADER)
const BINARY_REPORT = Buffer.from(REPORT_HEADER_BINARY)

/** From here on a varint is a negative number of 64 bits. */
const NEGATIVE = 2 ** 63

type Writable = { -readonly [Field in keyof AccessLogEntry]: AccessLogEntry[Field] }

const texts = new TextCache()

/** The HTTP entries of a message, in order. @throws MalformedMessageError: then none of them counts */
export function readAccessLogs(message: Uint8Array): AccessLogEntry[] {
  const entries: AccessLogEntry[] = []
  const fields = new WireFields(message, 0, message.length)
  while (fields.next()) {
    if (!fields.is(Message.HTTP_LOGS)) continue
    const logs = new WireFields(message, fields.start, fields.end)
    while (logs.next()) if (logs.is(HttpLogs.LOG_ENTRY)) entries.push(readEntry(message, logs.start, logs.end))
  }
  return entries
}

function readEntry(bytes: Uint8Array, start: number, end: number): AccessLogEntry {
  const entry: Writable = {
    endpoint: undefined,
    pool: undefined,
    upstream: undefined,
    durationMs: undefined,
    report: undefined,
    binaryReport: undefined,
    reportAgeMs: undefined,
  }
  let headersAfterMs: number | undefined
  let responseStart = 0
  let responseEnd = 0
  const fields = new WireFields(bytes, start, end)
  while (fields.next()) {
    if (fields.is(HttpEntry.COMMON_PROPERTIES)) headersAfterMs = readCommon(bytes, fields, entry)
    else if (fields.is(HttpEntry.RESPONSE)) {
      responseStart = fields.start
      responseEnd = fields.end
    }
  }
  if (responseEnd > responseStart) {
    const { durationMs = 0 } = entry
    readResponse(bytes, responseStart, responseEnd, Math.max(0, durationMs - (headersAfterMs ?? durationMs)), entry)
  }
  return entry
}

/** Returns after how many ms the response's headers came; undefined: not told. */
function readCommon(bytes: Uint8Array, at: WireFields, entry: Writable): number | undefined {
  let headersAfterMs: number | undefined
  const fields = new WireFields(bytes, at.start, at.end)
  while (fields.next()) {
    if (fields.is(Common.UPSTREAM_REMOTE_ADDRESS)) {
      const upstream = readAddress(bytes, fields)
      if (upstream !== '') entry.upstream = upstream
    } else if (fields.is(Common.FIRST_UPSTREAM_BYTE)) headersAfterMs = readDuration(bytes, fields)
    else if (fields.is(Common.DURATION)) entry.durationMs = readDuration(bytes, fields)
    else if (fields.is(Common.METADATA)) readMetadata(bytes, fields, entry)
  }
  return headersAfterMs
}

/** What our filter left there: `signalbox` → a struct → `endpoint` and `pool`. */
function readMetadata(bytes: Uint8Array, at: WireFields, entry: Writable): void {
  const items = new WireFields(bytes, at.start, at.end)
  while (items.next()) {
    if (!items.is(Metadata.FILTER_METADATA)) continue
    item.read(bytes, items)
    if (!item.isOf(METADATA_NAMESPACE)) continue
    const fields = new WireFields(bytes, item.start, item.end)
    while (fields.next()) {
      if (!fields.is(Struct.FIELDS)) continue
      item.read(bytes, fields)
      if (item.isOf(ENDPOINT)) entry.endpoint = readText(bytes, entry.endpoint)
      else if (item.isOf(POOL)) entry.pool = readText(bytes, entry.pool)
    }
  }
}

/** The `Value` that `item` has, where it is a text. */
function readText(bytes: Uint8Array, otherwise: string | undefined): string | undefined {
  let text = otherwise
  const fields = new WireFields(bytes, item.start, item.end)
  while (fields.next()) if (fields.is(Value.STRING)) text = texts.text(bytes, fields.start, fields.end)
  return text
}

/** Trailers are the newer ones: where they have a report, in whichever form, that of the headers is out. */
function readResponse(bytes: Uint8Array, start: number, end: number, headersAgeMs: number, entry: Writable): void {
  let fromTrailers = false
  const fields = new WireFields(bytes, start, end)
  while (fields.next()) {
    const trailers = fields.is(Response.TRAILERS)
    if ((!trailers && !fields.is(Response.HEADERS)) || (fromTrailers && !trailers)) continue
    item.read(bytes, fields)
    const binary = item.isOf(BINARY_REPORT)
    if (!binary && !item.isOf(REPORT)) continue
    if (trailers && !fromTrailers) entry.report = entry.binaryReport = undefined
    fromTrailers = trailers
    const value = texts.text(bytes, item.start, item.end)
    if (binary) entry.binaryReport = value
    else entry.report = value
    entry.reportAgeMs = trailers ? 0 : headersAgeMs
  }
}

/** In ms. */
function readDuration(bytes: Uint8Array, at: WireFields): number {
  let milliseconds = 0
  const fields = new WireFields(bytes, at.start, at.end)
  while (fields.next()) {
    if (fields.isVarint(Duration.SECONDS)) milliseconds += amount(fields.value) * 1000
    else if (fields.isVarint(Duration.NANOS)) milliseconds += amount(fields.value) / 1e6
  }
  return milliseconds
}

/** No duration is negative. */
function amount(value: number): number {
  return value < NEGATIVE ? value : 0
}

function readAddress(bytes: Uint8Array, at: WireFields): string {
  let text = ''
  const fields = new WireFields(bytes, at.start, at.end)
  while (fields.next()) {
    if (fields.is(Address.SOCKET)) text = readSocketAddress(bytes, fields)
    else if (fields.is(Address.PIPE)) {
      const pipe = new WireFields(bytes, fields.start, fields.end)
      while (pipe.next()) if (pipe.is(Pipe.PATH)) text = texts.text(bytes, pipe.start, pipe.end)
    }
  }
  return text
}

function readSocketAddress(bytes: Uint8Array, at: WireFields): string {
  let host = ''
  let port = 0
  const fields = new WireFields(bytes, at.start, at.end)
  while (fields.next()) {
    if (fields.is(SocketAddress.ADDRESS)) host = texts.text(bytes, fields.start, fields.end)
    else if (fields.isVarint(SocketAddress.PORT)) port = fields.value
  }
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** One entry of a map: where its key lies, and its value, `bytes[start, end)`. */
class MapItem {
  #bytes: Uint8Array = new Uint8Array(0)
  #keyStart = 0
  #keyEnd = 0
  start = 0
  end = 0

  read(bytes: Uint8Array, at: WireFields): void {
    this.#bytes = bytes
    this.#keyStart = this.#keyEnd = this.start = this.end = 0
    const fields = new WireFields(bytes, at.start, at.end)
    while (fields.next()) {
      if (fields.is(MapEntry.KEY)) {
        this.#keyStart = fields.start
        this.#keyEnd = fields.end
      } else if (fields.is(MapEntry.VALUE)) {
        this.start = fields.start
        this.end = fields.end
      }
    }
  }

  /** The key is exactly these bytes. */
  isOf(key: Uint8Array): boolean {
    if (this.#keyEnd - this.#keyStart !== key.length) return false
    for (let i = 0; i < key.length; i++) if (this.#bytes[this.#keyStart + i] !== key[i]) return false
    return true
  }
}

/** The one that is looked at: nothing is kept of it longer. */
const item = new MapItem()
