/** W3C Trace Context, level 1: the header `traceparent` (https://www.w3.org/TR/trace-context/). */
import { randomBytes } from 'node:crypto'

export interface TraceContext {
  /** 32 and 16 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)

/** Undefined: it is none, and the trace begins anew. A later version is read as far as it is known. */
export function parseTraceparent(text: string | undefined): TraceContext | undefined {
  const match = text === undefined ? undefined : TRACEPARENT.exec(text.trim())
  if (match == null) return undefined
  const [, version, traceId, spanId, flags, more] = match
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined
  return { traceId: traceId!, spanId: spanId!, sampled: (Number.parseInt(flags!, 16) & 1) === 1 }
}

export function formatTraceparent({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-0${sampled ? 1 : 0}`
}

export function newTraceId(): string {
  return randomBytes(16).toString('hex')
}

export function newSpanId(): string {
  return randomBytes(8).toString('hex')
}
