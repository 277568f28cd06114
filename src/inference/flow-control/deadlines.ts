import type { Band } from './band.ts'
import { EntryHeap } from './entry-heap.ts'
import type { FlowEntry } from './flow-entry.ts'
import type { FlowControlPlan } from './flow-plan.ts'

/** A request that waits in a band. */
class Deadline {
  readonly entry: FlowEntry
  readonly band: Band
  readonly sequence: number
  /** When it has waited long enough, ms of the clock that its arrival was read from. */
  key = 0
  place = -1

  constructor(entry: FlowEntry, band: Band) {
    this.entry = entry
    this.band = band
    this.sequence = entry.sequence
  }
}

export type WaitTerms = Pick<FlowControlPlan, 'requestTtlMs' | 'noEndpointTtlMs'>

/**
 * When requests that wait have waited long enough, the first one first. How long that is depends on whether the pool has an endpoint:
 * only when that changes, or the plan, all of them are looked at.
 */
export class Deadlines {
  readonly #of = new Map<FlowEntry, Deadline>()
  #heap = new EntryHeap<Deadline>()
  #queuedMs = Number.POSITIVE_INFINITY
  #unservedMs = Number.POSITIVE_INFINITY
  #empty = false

  /** Infinite: nothing has a deadline. */
  get next(): number {
    return this.#heap.head?.key ?? Number.POSITIVE_INFINITY
  }

  /** 0 = no limit but the request's own. */
  adopt({ requestTtlMs, noEndpointTtlMs }: WaitTerms): void {
    const queuedMs = requestTtlMs === 0 ? Number.POSITIVE_INFINITY : requestTtlMs
    const unservedMs = noEndpointTtlMs === 0 ? Number.POSITIVE_INFINITY : noEndpointTtlMs
    if (queuedMs === this.#queuedMs && unservedMs === this.#unservedMs) return
    this.#queuedMs = queuedMs
    this.#unservedMs = unservedMs
    this.#order()
  }

  /** Whether the pool has no endpoint. */
  see(empty: boolean): void {
    if (empty === this.#empty) return
    this.#empty = empty
    if (empty) for (const entry of this.#of.keys()) entry.sawNoEndpoint = true
    this.#order()
  }

  /** It waits from now on. Its arrival and sequence have been set. */
  add(entry: FlowEntry, band: Band): void {
    entry.sawNoEndpoint = this.#empty
    const deadline = new Deadline(entry, band)
    deadline.key = this.#endOf(entry)
    this.#of.set(entry, deadline)
    this.#heap.push(deadline)
  }

  /** One that waits. */
  remove(entry: FlowEntry): void {
    this.#heap.remove(this.#of.get(entry)!)
    this.#of.delete(entry)
  }

  /** The band that one waits in: where it was put, whatever other bands there are by now. */
  bandOf(entry: FlowEntry): Band {
    return this.#of.get(entry)!.band
  }

  /** One that has waited long enough; it stays until it is removed. */
  due(now: number): Deadline | undefined {
    const { head } = this.#heap
    return head !== undefined && head.key <= now ? head : undefined
  }

  #order(): void {
    this.#heap = new EntryHeap()
    for (const deadline of this.#of.values()) {
      deadline.key = this.#endOf(deadline.entry)
      this.#heap.push(deadline)
    }
  }

  /** One that has seen the pool empty may wait as long as that allows. */
  #endOf({ arrivedAt, timeoutMs, sawNoEndpoint }: FlowEntry): number {
    const queuedMs = sawNoEndpoint ? Math.max(this.#queuedMs, this.#unservedMs) : this.#queuedMs
    return arrivedAt + Math.min(this.#empty ? this.#unservedMs : queuedMs, timeoutMs)
  }
}
