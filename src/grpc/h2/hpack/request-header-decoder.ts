/**
 * Header sections of requests: HPACK (RFC 7541), the rules of RFC 9113 §8.2 and §8.3, and the limits of a peer.
 *
 * Budget: 0.1 µs for a block that came before, as all of Envoy's but a connection's first two; about 1 µs for another one of
 * its size (test/bench/hpack.bench.ts).
 */
import type { StreamHeaders } from '../../transport.ts'
import { FieldKind } from './field-kind.ts'
import { FieldReader, ReadStep } from './field-reader.ts'
import { RecentBlocks } from './recent-blocks.ts'
import { RequestFields } from './request-fields.ts'

export const HeaderResult = {
  OK: 0,
  /** A connection error, COMPRESSION_ERROR: the table is out of step, the decoder must not be used again. */
  COMPRESSION_ERROR: 1,
  /** A stream error, PROTOCOL_ERROR. The table is in step. */
  MALFORMED: 2,
  /** Over the limits. The table is in step: the stream is refused, the connection lives. */
  TOO_LARGE: 3,
} as const
export type HeaderResult = (typeof HeaderResult)[keyof typeof HeaderResult]

export interface HeaderLimits {
  /** What we advertise as SETTINGS_HEADER_TABLE_SIZE; the protocol's default is 4096. */
  readonly maxTableBytes: number
  /** As HTTP/2 counts: octets of names and values, and 32 a field (SETTINGS_MAX_HEADER_LIST_SIZE). */
  readonly maxListBytes: number
  readonly maxFields: number
}

const NONE = Object.freeze(Object.create(null) as StreamHeaders)

/**
 * One for each connection, fed with its header blocks in their order. Memory: the dynamic table, up to 17 KiB of what came lately, and
 * what `maxListBytes` allows while a block is decoded. Once a section is over its limits or malformed, the rest is only read for the
 * table's sake.
 */
export class RequestHeaderDecoder {
  /** The request decoded last, when its result was OK, without `grpc-timeout`. Frozen; the same fields again may give the same object. */
  headers: StreamHeaders = NONE
  /** Its `grpc-timeout`. */
  timeout: string | undefined
  private readonly limits: HeaderLimits
  private readonly reader: FieldReader
  private readonly fields = new RequestFields()
  private readonly recent = new RecentBlocks()

  constructor(limits: HeaderLimits) {
    this.limits = limits
    this.reader = new FieldReader(limits.maxTableBytes)
  }

  /** The header section of a request in `block[start, end)`, which is only read during the call. */
  decodeRequest(block: Uint8Array, start: number, end: number): HeaderResult {
    const { table } = this.reader
    const { version } = table
    const known = this.recent.find(block, start, end, version)
    if (known !== undefined) {
      this.headers = known.headers
      this.timeout = known.timeout
      return HeaderResult.OK
    }
    this.fields.start()
    const result = this.decode(block, start, end, true)
    if (result !== HeaderResult.OK) return result
    const headers = this.fields.finish()
    if (headers === undefined) return HeaderResult.MALFORMED
    const { timeout } = this.fields
    this.headers = headers
    this.timeout = timeout
    if (table.version === version) this.recent.remember(block, start, end, version, headers, timeout)
    return HeaderResult.OK
  }

  /** A trailer section: the same rules, no pseudo-headers. Its fields are dropped. */
  decodeTrailers(block: Uint8Array, start: number, end: number): HeaderResult {
    return this.decode(block, start, end, false)
  }

  private decode(block: Uint8Array, start: number, end: number, isRequest: boolean): HeaderResult {
    const { reader, limits } = this
    if (!reader.start(block, start, end)) return HeaderResult.COMPRESSION_ERROR
    let result: HeaderResult = HeaderResult.OK
    let budget = limits.maxListBytes
    let fields = 0
    for (;;) {
      const step = reader.next(budget)
      if (step === ReadStep.ERROR) return HeaderResult.COMPRESSION_ERROR
      if (step === ReadStep.END) return result
      if (result !== HeaderResult.OK) continue
      budget -= reader.size
      if (budget < 0 || ++fields > limits.maxFields) result = HeaderResult.TOO_LARGE
      else if (!this.accept(isRequest)) result = HeaderResult.MALFORMED
      if (result !== HeaderResult.OK) budget = 0
    }
  }

  /** The reader's field. */
  private accept(isRequest: boolean): boolean {
    const { kind, name, value } = this.reader
    if (isRequest) return this.fields.add(kind, name, value)
    return kind !== FieldKind.MALFORMED && kind < FieldKind.METHOD
  }
}
