/** One request as the simulator saw it: what `GET /sim/requests` shows. */
export interface RequestRecord {
  /** Counts from 1, never reused. */
  readonly index: number
  /** The answer's `id` for completions, otherwise `req-<index>`. */
  id: string
  readonly replica: string
  /** Wall-clock time, ISO 8601. */
  readonly receivedAt: string
  readonly httpVersion: string
  readonly method: string
  readonly path: string
  /** Header names and values as they came, in order; names as written by the peer (lower case on HTTP/2). */
  readonly rawHeaders: readonly (readonly [name: string, value: string])[]
  /** The same by lower-case name; a repeated name's values joined as Node joins them. */
  readonly headers: Readonly<Record<string, string>>
  /** HTTP trailers by lower-case name; empty until the body is complete. */
  trailers: Readonly<Record<string, string>>
  /** Bytes of body so far; when the body is complete, all of them. */
  bodyBytes: number
  /** Hex SHA-256 of the raw body; null until it is complete. */
  bodySha256: string | null
  model: string | null
  stream: boolean
  /** Status of the answer; null as long as there is none. */
  status: number | null
  promptTokens: number
  cachedTokens: number
  completionTokens: number
  /** `stop`, `length`, `abort` (the client went away), or null. */
  finishReason: string | null
  /** Simulated milliseconds since the arrival; null for what has not happened. */
  timings: { scheduledMs: number | null; firstTokenMs: number | null; finishedMs: number | null }
  /** How the exchange ended; `cut`: the client or a fault closed the connection before the answer was complete. */
  outcome: 'open' | 'answered' | 'cut'
}

/** The last requests, oldest first. */
export class RequestLog {
  readonly #limit: number
  #records: RequestRecord[] = []
  #count = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  nextIndex(): number {
    return ++this.#count
  }

  add(record: RequestRecord): void {
    this.#records.push(record)
    // Dropping in bulk keeps this cheap for a large log.
    if (this.#records.length >= 2 * this.#limit) this.#records = this.last(this.#limit)
  }

  last(count: number): RequestRecord[] {
    return this.#records.slice(-Math.min(count, this.#limit))
  }

  clear(): void {
    this.#records = []
  }
}
