import { createHash } from 'node:crypto'

/** Bodies up to this size are kept whole; of longer ones only length and hash. */
const KEEP_BYTES = 1 << 20

export interface BodyRecord {
  readonly length: number
  /** Hex. */
  readonly sha256: string
  /** Undefined above 1 MiB. */
  readonly bytes: Buffer | undefined
}

/** A request as a backend saw it. */
export interface RecordedRequest {
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly httpVersion: string
  /** Names in lower case; pseudo headers of HTTP/2 only as `:authority`. Repeated ones joined by ", ". */
  readonly headers: Readonly<Record<string, string>>
  /** What came so far; final when `complete`. */
  readonly body: BodyRecord
  readonly trailers: Readonly<Record<string, string>>
  /** The whole request arrived. False forever when it was cut off. */
  readonly complete: boolean
  /** The client went away before the request or its answer was whole. */
  readonly aborted: boolean
}

/** Length, hash and bytes, as a backend would record them: for comparisons. */
export function bodyRecord(body: string | Uint8Array): BodyRecord {
  const recorder = new BodyRecorder()
  recorder.add(Buffer.from(body))
  return recorder.record()
}

/** Takes a body piece by piece without keeping long ones. */
export class BodyRecorder {
  #length = 0
  #parts: Buffer[] = []
  readonly #hash = createHash('sha256')

  add(part: Buffer): void {
    this.#length += part.length
    this.#hash.update(part)
    if (this.#length <= KEEP_BYTES) this.#parts.push(part)
    else this.#parts = []
  }

  record(): BodyRecord {
    const bytes = this.#length <= KEEP_BYTES ? Buffer.concat(this.#parts) : undefined
    return { length: this.#length, sha256: this.#hash.copy().digest('hex'), bytes }
  }
}
