import { Band } from './band.ts'
import type { FlowMemory } from './flow-memory.ts'
import type { FlowControlPlan } from './flow-plan.ts'

/** The bands of one thread's queues, by priority. Those of earlier plans stay while something waits in them. */
export class Bands {
  /** Of the plan, highest first. */
  priorities: readonly number[] = []
  #plan!: FlowControlPlan
  readonly #bands = new Map<number, Band>()

  /** `places`: those in the shared memory, by priority. What waits goes on waiting. @throws ZodError, RangeError for a band without a place */
  adopt(plan: FlowControlPlan, places: ReadonlyMap<number, number>): void {
    for (const band of plan.bands) {
      const known = this.#bands.get(band.priority)
      const place = places.get(band.priority)
      if (place === undefined) throw new RangeError(`no place for the band of priority ${band.priority}`)
      if (known === undefined) this.#bands.set(band.priority, new Band(band, place))
      else known.adopt(band, plan.requestTtlMs)
    }
    this.#plan = plan
    this.priorities = plan.bands.map(({ priority }) => priority)
    this.forgetEmpty()
  }

  all(): Iterable<Band> {
    return this.#bands.values()
  }

  /** Of a priority that the plan does not know, as an older plan's objectives may have given: the nearest one below, or the lowest. */
  of(priority: number): Band {
    const known = this.#bands.get(priority)
    if (known !== undefined) return known
    return this.#bands.get(this.priorities[this.rankOf(priority)]!)!
  }

  /** Index in `priorities`; a band that the plan no longer has goes with the next lower one. */
  rankOf(priority: number): number {
    const rank = this.priorities.findIndex(each => each <= priority)
    return rank < 0 ? this.priorities.length - 1 : rank
  }

  /** The highest in which something waits here. */
  highest(): Band | undefined {
    let highest: Band | undefined
    for (const band of this.#bands.values())
      if (band.size > 0 && (highest === undefined || band.priority > highest.priority)) highest = band
    return highest
  }

  /** Whether a request of so many bytes may wait in the band, with all that waits at any thread. */
  hasRoom(band: Band, bytes: number, memory: FlowMemory): boolean {
    const { maxBytes, maxRequests, bands } = this.#plan
    if (memory.requests(band.place) >= band.plan.maxRequests) return false
    if (memory.bytes(band.place) + bytes > band.plan.maxBytes) return false
    if (maxBytes === undefined && maxRequests === undefined) return true
    let allRequests = 0
    let allBytes = 0
    for (const { priority } of bands) {
      const { place } = this.#bands.get(priority)!
      allRequests += memory.requests(place)
      allBytes += memory.bytes(place)
    }
    return (
      !(maxRequests !== undefined && allRequests >= maxRequests) &&
      !(maxBytes !== undefined && allBytes + bytes > maxBytes)
    )
  }

  /** Those that the plan no longer has, and in which nothing waits. */
  forgetEmpty(): void {
    if (this.#bands.size === this.priorities.length) return
    for (const { priority, size } of this.#bands.values())
      if (size === 0 && !this.priorities.includes(priority)) this.#bands.delete(priority)
  }
}
