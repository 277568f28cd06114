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
  #batches: PendingBatch[] = []
  #bytes = 0

  constructor(total: PendingTotal, maxBytes: number) {
    this.#total = total
    this.#maxBytes = maxBytes
  }

  get first(): PendingBatch | undefined {
    return this.#batches[0]
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

  /** All of them, which are gone then. */
  take(): readonly PendingBatch[] {
    const batches = this.#batches
    this.#batches = []
    this.#total.bytes -= this.#bytes
    this.#bytes = 0
    return batches
  }
}
