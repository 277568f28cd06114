/**
 * What the main thread learns of replicas from their scrapes, as shared memory that every thread reads: a column of `capacity` numbers
 * each, and two for the whole pool. Written by ./service-estimates.ts and ./prefill-rates.ts alone.
 */
const COLUMNS = 3
const SINGLES = 2

export class EndpointEstimates {
  /** Requests in the batch that a queue lasts behind; 0 = none lasts. */
  readonly fullBatch: Float64Array
  /** Time that a request spends in the batch, ms. */
  readonly residence: Float64Array
  /** Its prefill takes so many times as long as the pool's. */
  readonly prefillFactor: Float64Array
  /** One element: prefill of a token that the cache does not have, ms. */
  readonly prefillMs: Float64Array
  /** One element: the largest full batch of any replica; 0 = none was full yet. */
  readonly largestBatch: Float64Array

  constructor(memory: SharedArrayBuffer, capacity: number) {
    const all = new Float64Array(memory)
    this.fullBatch = all.subarray(0, capacity)
    this.residence = all.subarray(capacity, 2 * capacity)
    this.prefillFactor = all.subarray(2 * capacity, COLUMNS * capacity)
    this.prefillMs = all.subarray(COLUMNS * capacity, COLUMNS * capacity + 1)
    this.largestBatch = all.subarray(COLUMNS * capacity + 1)
  }
}

export function createEstimates(capacity: number): SharedArrayBuffer {
  return new SharedArrayBuffer((COLUMNS * capacity + SINGLES) * Float64Array.BYTES_PER_ELEMENT)
}

/** Copies what is known into the memory of a larger table. */
export function growEstimates(from: SharedArrayBuffer, capacity: number, to: SharedArrayBuffer, larger: number): void {
  const before = new EndpointEstimates(from, capacity)
  const after = new EndpointEstimates(to, larger)
  after.fullBatch.set(before.fullBatch)
  after.residence.set(before.residence)
  after.prefillFactor.set(before.prefillFactor)
  after.prefillMs.set(before.prefillMs)
  after.largestBatch.set(before.largestBatch)
}
