/**
 * Shared memory of an endpoint table (./endpoint-table.ts): who may write what.
 *
 * - `integers`, `doubles`: what the main thread knows of each endpoint, a column of `capacity` elements each. The main thread alone
 *   writes them (but for one flag, `relist`, that any thread raises, and what load reports in responses say). When the table grows they are copied into larger ones, and
 *   other threads read the old ones until they adopt the new: stale by milliseconds, as scrapes are anyway.
 * - `counters`: in segments of `SEGMENT_SLOTS` slots that **never move**: a table that grows gets further segments, so that no count
 *   is lost whenever a thread adopts them. In a segment each thread has a block of its own, which it alone writes
 *   (./endpoint-counters.ts).
 */

import { createEstimates, growEstimates } from './endpoint-estimates.ts'
import { createInFlightMemory } from './in-flight-requests.ts'

/** Adapters remembered per endpoint, running ones first; vLLM's `max_loras` is far smaller. */
export const ADAPTERS_PER_ENDPOINT = 64

/** Values per endpoint that scrapes give beside the load, by the pool's names for them (`ScrapePlan.attributes`). */
export const ATTRIBUTES_PER_ENDPOINT = 16

export const SEGMENT_SLOTS = 64
/** Kinds of counters: ./endpoint-counters.ts. */
export const COUNTER_KINDS = 8

/** Plain data: hand it to another thread to build a table on the same numbers. */
export interface EndpointTableState {
  /** Slots; a multiple of `SEGMENT_SLOTS`. */
  readonly capacity: number
  /** Threads that count: column 0 is the main thread's. */
  readonly threads: number
  /** There is a column more, `threads`, for what other replicas of Signalbox have counted. */
  readonly peers: boolean
  readonly integers: SharedArrayBuffer
  readonly doubles: SharedArrayBuffer
  readonly counters: readonly SharedArrayBuffer[]
  /** Requests on their way, whatever their endpoints (./in-flight-requests.ts): never moves either. */
  readonly requests: SharedArrayBuffer
  /** What the main thread has learned of the replicas: ./endpoint-estimates.ts. */
  readonly estimates: SharedArrayBuffer
}

export const INTEGER_COLUMNS = 12
export const DOUBLE_COLUMNS = 3

/** `counters`, `requests`: those of the smaller table that this one replaces. */
export function createEndpointTableState(
  capacity: number,
  threads: number,
  counters: readonly SharedArrayBuffer[] = [],
  peers = false,
  requests: SharedArrayBuffer = createInFlightMemory(threads),
): EndpointTableState {
  const rounded = Math.ceil(capacity / SEGMENT_SLOTS) * SEGMENT_SLOTS
  const integers = rounded * (INTEGER_COLUMNS + ADAPTERS_PER_ENDPOINT) + 1
  const segment = SEGMENT_SLOTS * COUNTER_KINDS * (peers ? threads + 1 : threads) + 1
  const segments = [...counters]
  while (segments.length * SEGMENT_SLOTS < rounded)
    segments.push(new SharedArrayBuffer(segment * Int32Array.BYTES_PER_ELEMENT))
  return {
    capacity: rounded,
    threads,
    peers,
    integers: new SharedArrayBuffer(integers * Int32Array.BYTES_PER_ELEMENT),
    doubles: new SharedArrayBuffer(
      rounded * (DOUBLE_COLUMNS + ATTRIBUTES_PER_ENDPOINT) * Float64Array.BYTES_PER_ELEMENT,
    ),
    counters: segments,
    requests,
    estimates: createEstimates(rounded),
  }
}

/** The same endpoints in a larger table. The old memory stays valid for threads that still read it, but isn't written any more. */
export function growEndpointTableState(old: EndpointTableState, slots: number): EndpointTableState {
  let { capacity } = old
  while (capacity < slots) capacity *= 2
  const state = createEndpointTableState(capacity, old.threads, old.counters, old.peers, old.requests)
  copyColumns(new Int32Array(old.integers), new Int32Array(state.integers), INTEGER_COLUMNS, old.capacity, capacity)
  // The adapters are one wide column behind the others, and so are the attributes.
  const adapters = new Int32Array(old.integers).subarray(INTEGER_COLUMNS * old.capacity, -1)
  new Int32Array(state.integers).set(adapters, INTEGER_COLUMNS * capacity)
  copyColumns(new Float64Array(old.doubles), new Float64Array(state.doubles), DOUBLE_COLUMNS, old.capacity, capacity)
  const attributes = new Float64Array(old.doubles).subarray(DOUBLE_COLUMNS * old.capacity)
  new Float64Array(state.doubles).set(attributes, DOUBLE_COLUMNS * capacity)
  growEstimates(old.estimates, old.capacity, state.estimates, capacity)
  return state
}

function copyColumns<T extends Int32Array | Float64Array>(
  from: T,
  to: T,
  columns: number,
  oldCapacity: number,
  capacity: number,
): void {
  for (let column = 0; column < columns; column++)
    to.set(from.subarray(column * oldCapacity, (column + 1) * oldCapacity), column * capacity)
}
