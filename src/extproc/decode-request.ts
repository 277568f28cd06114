import type { Buffer } from 'node:buffer'
import { HeaderView } from './header-view.ts'
import { BodyMode, RequestKind } from './modes.ts'
import { WireReader, WireType } from './wire.ts'

/**
 * Hand decoder of `envoy.service.ext_proc.v3.ProcessingRequest` (numbers: envoy-xds-istio.md §1.2). Bytes are not copied and
 * strings not made: headers, metadata and attributes stay positions. Unknown fields are skipped. Differentially tested
 * against protobuf-es and protobufjs.
 *
 * Budget: 319 B of request headers (11 headers) in about 0.3 µs, a body message in 0.05 µs.
 */
export class IncomingMessage {
  kind: RequestKind = RequestKind.NONE
  endOfStream = false
  /** May be exchanged for another view by the one who keeps it. */
  headers = new HeaderView()
  /** The bytes that the positions below point into. */
  bytes: Buffer | undefined
  bodyStart = 0
  bodyEnd = 0
  /** Position of `metadata_context`; −1 = absent. */
  metadataStart = -1
  metadataEnd = -1
  /** Position of an entry of `attributes` (Envoy sends one: what its filter's `request_attributes` ask for); −1 = absent. */
  attributesStart = -1
  attributesEnd = -1
  observability = false
  hasProtocolConfig = false
  requestBodyMode: BodyMode = BodyMode.NONE
  responseBodyMode: BodyMode = BodyMode.NONE
  withoutWaiting = false

  clear(): void {
    this.kind = RequestKind.NONE
    this.endOfStream = false
    this.headers.clear()
    this.bytes = undefined
    this.bodyStart = 0
    this.bodyEnd = 0
    this.metadataStart = -1
    this.metadataEnd = -1
    this.attributesStart = -1
    this.attributesEnd = -1
    this.observability = false
    this.hasProtocolConfig = false
    this.requestBodyMode = BodyMode.NONE
    this.responseBodyMode = BodyMode.NONE
    this.withoutWaiting = false
  }
}

const reader = new WireReader()

/** Of one message. An empty header is two bytes on the wire and sixteen here. Envoy takes 100 of clients, unless told otherwise. */
const MAX_HEADERS = 4096

/** Decodes a whole message. Returns false when it is malformed; `out` is then undefined in content. */
export function decodeRequest(bytes: Buffer, start: number, end: number, out: IncomingMessage): boolean {
  out.clear()
  out.bytes = bytes
  return decodeOuter(bytes, start, end, out)
}

/** Fields of `ProcessingRequest` from `at` on. Also used for what follows a body whose bytes went by in parts. */
export function decodeOuter(bytes: Buffer, at: number, end: number, out: IncomingMessage): boolean {
  while (at < end) {
    at = reader.varint(bytes, at, end)
    if (at < 0) return false
    const tag = reader.value
    if ((tag & 7) !== WireType.LEN) {
      const value = reader.skip(bytes, tag, at, end)
      if (value < 0) return false
      if (tag === ((10 << 3) | WireType.VARINT)) out.observability = reader.value !== 0
      at = value
      continue
    }
    at = reader.varint(bytes, at, end)
    if (at < 0 || reader.value > end - at) return false
    const next = at + reader.value
    switch (tag >>> 3) {
      case RequestKind.REQUEST_HEADERS:
      case RequestKind.RESPONSE_HEADERS:
        out.kind = (tag >>> 3) as RequestKind
        out.endOfStream = false
        out.headers.lie(bytes, at, next)
        if (!decodeHeaders(bytes, at, next, out)) return false
        break
      case RequestKind.REQUEST_BODY:
      case RequestKind.RESPONSE_BODY:
        out.kind = (tag >>> 3) as RequestKind
        out.endOfStream = false
        out.bodyStart = 0
        out.bodyEnd = 0
        if (!decodeBody(bytes, at, next, out)) return false
        break
      case RequestKind.REQUEST_TRAILERS:
      case RequestKind.RESPONSE_TRAILERS:
        out.kind = (tag >>> 3) as RequestKind
        out.endOfStream = false
        out.headers.lie(bytes, at, next)
        // `HttpTrailers` is `HttpHeaders` without an end of stream.
        if (!decodeHeaders(bytes, at, next, out)) return false
        out.endOfStream = false
        break
      case 8:
        out.metadataStart = at
        out.metadataEnd = next
        break
      case 9:
        out.attributesStart = at
        out.attributesEnd = next
        break
      case 11:
        if (!decodeProtocolConfig(bytes, at, next, out)) return false
        break
    }
    at = next
  }
  return true
}

/** `HttpBody` from `at` on. */
export function decodeBody(bytes: Buffer, at: number, end: number, out: IncomingMessage): boolean {
  while (at < end) {
    at = reader.varint(bytes, at, end)
    if (at < 0) return false
    const tag = reader.value
    if (tag === ((1 << 3) | WireType.LEN)) {
      at = reader.varint(bytes, at, end)
      if (at < 0 || reader.value > end - at) return false
      out.bodyStart = at
      out.bodyEnd = at + reader.value
      at = out.bodyEnd
    } else {
      at = reader.skip(bytes, tag, at, end)
      if (at < 0) return false
      if (tag === ((2 << 3) | WireType.VARINT)) out.endOfStream = reader.value !== 0
    }
  }
  return true
}

function decodeHeaders(bytes: Buffer, at: number, end: number, out: IncomingMessage): boolean {
  while (at < end) {
    at = reader.varint(bytes, at, end)
    if (at < 0) return false
    const tag = reader.value
    if (tag === ((1 << 3) | WireType.LEN)) {
      at = reader.varint(bytes, at, end)
      if (at < 0 || reader.value > end - at) return false
      const next = at + reader.value
      if (!decodeHeaderMap(bytes, at, next, out.headers)) return false
      at = next
    } else {
      at = reader.skip(bytes, tag, at, end)
      if (at < 0) return false
      if (tag === ((3 << 3) | WireType.VARINT)) out.endOfStream = reader.value !== 0
    }
  }
  return true
}

function decodeHeaderMap(bytes: Buffer, at: number, end: number, headers: HeaderView): boolean {
  while (at < end) {
    if (headers.count === MAX_HEADERS) return false
    const after = shortHeader(bytes, at, end, headers)
    if (after > 0) {
      at = after
      continue
    }
    at = reader.varint(bytes, at, end)
    if (at < 0) return false
    const tag = reader.value
    if (tag !== ((1 << 3) | WireType.LEN)) {
      at = reader.skip(bytes, tag, at, end)
      if (at < 0) return false
      continue
    }
    at = reader.varint(bytes, at, end)
    if (at < 0 || reader.value > end - at) return false
    const next = at + reader.value
    if (!decodeHeaderValue(bytes, at, next, headers)) return false
    at = next
  }
  return true
}

const KEY_TAG = (1 << 3) | WireType.LEN
const VALUE_TAG = (2 << 3) | WireType.LEN
const RAW_VALUE_TAG = (3 << 3) | WireType.LEN

/**
 * A `HeaderValue` field of the form that nearly all have: key and one value, each shorter than 128 bytes. Returns the position after
 * it, or 0 for any other.
 */
function shortHeader(bytes: Buffer, at: number, end: number, headers: HeaderView): number {
  // Tag, length, tag, length, key, tag, length, value. Beyond the buffer every comparison with undefined fails.
  const next = at + 2 + bytes[at + 1]!
  const keyStart = at + 4
  const keyEnd = keyStart + bytes[at + 3]!
  const tag = bytes[keyEnd]
  const valueStart = keyEnd + 2
  if (
    next <= end &&
    bytes[at] === KEY_TAG &&
    bytes[at + 1]! < 0x80 &&
    bytes[at + 2] === KEY_TAG &&
    bytes[at + 3]! < 0x80 &&
    (tag === RAW_VALUE_TAG || tag === VALUE_TAG) &&
    bytes[keyEnd + 1]! < 0x80 &&
    next === valueStart + bytes[keyEnd + 1]!
  ) {
    headers.add(keyStart, keyEnd, valueStart, next)
    return next
  }
  return 0
}

/** `HeaderValue{key 1, value 2, raw_value 3}`: Envoy fills `raw_value`, agentgateway `value` for pseudo headers. */
function decodeHeaderValue(bytes: Buffer, at: number, end: number, headers: HeaderView): boolean {
  let keyStart = 0
  let keyEnd = 0
  let valueStart = 0
  let valueEnd = 0
  while (at < end) {
    at = reader.varint(bytes, at, end)
    if (at < 0) return false
    const tag = reader.value
    if ((tag & 7) !== WireType.LEN) {
      at = reader.skip(bytes, tag, at, end)
      if (at < 0) return false
      continue
    }
    at = reader.varint(bytes, at, end)
    if (at < 0 || reader.value > end - at) return false
    const next = at + reader.value
    const field = tag >>> 3
    if (field === 1) {
      keyStart = at
      keyEnd = next
    } else if ((field === 2 || field === 3) && (next > at || valueEnd === valueStart)) {
      // An empty raw_value beside a value does not hide it, whichever comes last.
      valueStart = at
      valueEnd = next
    }
    at = next
  }
  headers.add(keyStart, keyEnd, valueStart, valueEnd)
  return true
}

function decodeProtocolConfig(bytes: Buffer, at: number, end: number, out: IncomingMessage): boolean {
  out.hasProtocolConfig = true
  while (at < end) {
    at = reader.varint(bytes, at, end)
    if (at < 0) return false
    const tag = reader.value
    at = reader.skip(bytes, tag, at, end)
    if (at < 0) return false
    if ((tag & 7) !== WireType.VARINT) continue
    if (tag >>> 3 === 1) out.requestBodyMode = reader.value as BodyMode
    else if (tag >>> 3 === 2) out.responseBodyMode = reader.value as BodyMode
    else if (tag >>> 3 === 3) out.withoutWaiting = reader.value !== 0
  }
  return true
}
