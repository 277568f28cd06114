import type { BodySink } from './http-response-reader.ts'

/** A body that is needed as a whole. */
export class CollectedBody implements BodySink {
  #parts: Buffer[] = []

  take(bytes: Buffer, start: number, end: number): void {
    this.#parts.push(Buffer.from(bytes.subarray(start, end)))
  }

  /** All bytes since the last call. */
  finish(): Buffer {
    const parts = this.#parts
    this.#parts = []
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }
}
