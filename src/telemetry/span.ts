/** A finished span as plain data: threads make them, the main thread sends them on. */
export interface FinishedSpan {
  readonly traceId: string
  readonly spanId: string
  /** Absent: it is the root. */
  readonly parentSpanId?: string
  /** The parent is no span of this process. */
  readonly remoteParent?: boolean
  readonly name: string
  readonly kind: 'server' | 'internal'
  /** Unix time, ms with fractions. */
  readonly startedAt: number
  readonly endedAt: number
  readonly attributes: Readonly<Record<string, SpanValue>>
  /** What went wrong. */
  readonly error?: string
}

export type SpanValue = string | number | boolean | readonly string[] | readonly number[]
