import type { Buffer } from 'node:buffer'

export interface PendingBatch {
  readonly sequence: number
  readonly payload: Buffer
}

/** What a batch costs beside its payload. */
const BATCH_BYTES = 200

/** What waits at all endpoints together. */
export class PendingTotal {
  bytes = 0
  readonly maxBytes: number

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }
}

/** Batches of one endpoint that wait for a replay, in order, within the bytes of the endpoint and of all. */
export class PendingBatches {
  readonly #total: PendingTotal
  readonly #maxBytes: number
  #batches: (PendingBatch | undefined)[] = []
  /** Those before it are gone. */
  #next = 0
  #bytes = 0

  constructor(total: PendingTotal, maxBytes: number) {
    this.#total = total
    this.#maxBytes = maxBytes
  }

  get first(): PendingBatch | undefined {
    return this.#batches[this.#next]
  }

  /** False: there is no room for it, so it was left out. */
  push(batch: PendingBatch): boolean {
    const bytes = batch.payload.length + BATCH_BYTES
    if (this.#bytes + bytes > this.#maxBytes || this.#total.bytes + bytes > this.#total.maxBytes) return false
    this.#batches.push(batch)
    this.#bytes += bytes
    this.#total.bytes += bytes
    return true
  }

  /** The first is gone. */
  shift(): void {
    const batch = this.#batches[this.#next]
    if (batch === undefined) return
    const bytes = batch.payload.length + BATCH_BYTES
    this.#bytes -= bytes
    this.#total.bytes -= bytes
    this.#batches[this.#next++] = undefined
    if (this.#next < 1024 && this.#next < this.#batches.length) return
    this.#batches.splice(0, this.#next)
    this.#next = 0
  }

  /** All are gone. Returns how many. */
  clear(): number {
    const count = this.#batches.length - this.#next
    this.#batches = []
    this.#next = 0
    this.#total.bytes -= this.#bytes
    this.#bytes = 0
    return count
  }
}
