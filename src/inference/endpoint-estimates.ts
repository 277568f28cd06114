/**
 * What the main thread learns of replicas from their scrapes, as shared memory that every thread reads: a column of `capacity` numbers
 * each, and some for the whole pool. Written by ./service-estimates.ts, ./prefill-rates.ts and ./decode-rates.ts alone.
 */
const COLUMNS = 4
const SINGLES = 5

export class EndpointEstimates {
  /** Requests in the batch that a queue lasts behind; 0 = none lasts. */
  readonly fullBatch: Float64Array
  /** Time that a request spends in the batch, ms. */
  readonly residence: Float64Array
  /** Its prefill takes so many times as long as the pool's. */
  readonly prefillFactor: Float64Array
  /** A token takes so many times as long as the pool's line says. */
  readonly decodeFactor: Float64Array
  // One element each.
  /** Prefill of a token that the cache does not have, ms. */
  readonly prefillMs: Float64Array
  /** The largest full batch of any replica; 0 = none was full yet. */
  readonly largestBatch: Float64Array
  /** Time between two tokens of a request, ms: with nothing else in the batch, and more for each request in it. */
  readonly decodeBaseMs: Float64Array
  readonly decodePerRequestMs: Float64Array
  /** Weight of the samples that the two are learned from. */
  readonly decodeLearned: Float64Array

  constructor(memory: SharedArrayBuffer, capacity: number) {
    const all = new Float64Array(memory)
    const column = (index: number) => all.subarray(index * capacity, (index + 1) * capacity)
    const single = (index: number) => all.subarray(COLUMNS * capacity + index, COLUMNS * capacity + index + 1)
    this.fullBatch = column(0)
    this.residence = column(1)
    this.prefillFactor = column(2)
    this.decodeFactor = column(3)
    this.prefillMs = single(0)
    this.largestBatch = single(1)
    this.decodeBaseMs = single(2)
    this.decodePerRequestMs = single(3)
    this.decodeLearned = single(4)
  }
}

export function createEstimates(capacity: number): SharedArrayBuffer {
  return new SharedArrayBuffer((COLUMNS * capacity + SINGLES) * Float64Array.BYTES_PER_ELEMENT)
}

/** Copies what is known into the memory of a larger table. */
export function growEstimates(from: SharedArrayBuffer, capacity: number, to: SharedArrayBuffer, larger: number): void {
  const before = new Float64Array(from)
  const after = new Float64Array(to)
  for (let column = 0; column < COLUMNS; column++)
    after.set(before.subarray(column * capacity, (column + 1) * capacity), column * larger)
  after.set(before.subarray(COLUMNS * capacity), COLUMNS * larger)
}
