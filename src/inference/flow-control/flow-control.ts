/**
 * Queues in front of a pool, as one thread has them (epp.md §3.10): requests wait while the pool is saturated, and go on by priority, by
 * fairness between those who send them, and by the order of their flow. What lets requests go on are events: one arrives, one is over, a
 * scrape tells something new (./flow-memory.ts). There is no clock but a timer for the first one whose time is up.
 *
 * The head of the line: as long as the highest band in which anything waits, at any thread, must wait, everything waits.
 */
import { type HeaderName, headerName } from '../../extproc/header-view.ts'
import type { EndpointTable } from '../endpoint-table.ts'
import { Band } from './band.ts'
import { Evictor } from './evictor.ts'
import type { FlowEntry } from './flow-entry.ts'
import { FlowMemory, type FlowShare } from './flow-memory.ts'
import { FlowOutcome } from './flow-outcome.ts'
import type { FlowControlPlan } from './flow-plan.ts'
import { createUsageLimit, goesByUsage } from './flow-plugins.ts'
import { FlowWake } from './flow-wake.ts'
import type { InFlightLimit } from '../in-flight-limit.ts'
import { Saturation } from './saturation.ts'
import type { UsageLimit } from './usage-limits.ts'

/** Times are looked at so often, ms: a request may wait that much longer than it may. */
const TIMES_MS = 25

export interface FlowClock {
  /** The clock of scrapes, ms. */
  readonly nowMs: () => number
  /** The clock of waits, ms. */
  readonly monotonicMs: () => number
}

export const Entering = {
  /** It goes on at once; it is not told again. */
  NOW: 0,
  /** It will be told. */
  WAITS: 1,
  /** There is no room. */
  FULL: 2,
  /** Nothing may wait any more. */
  CLOSED: 3,
} as const
export type Entering = (typeof Entering)[keyof typeof Entering]

export class FlowControl {
  readonly #table: EndpointTable
  readonly #clock: FlowClock
  readonly #thread: number
  #plan!: FlowControlPlan
  /** `FlowControlPlan.agentHeaders` */
  agentHeaders: readonly HeaderName[] = []
  /** Some band goes by what requests have used: `used`. */
  wantsUsage = false
  #memory!: FlowMemory
  #buffer: SharedArrayBuffer | undefined
  #wake!: FlowWake
  #saturation!: Saturation
  /** The pool's own; undefined: there is none. */
  limit: InFlightLimit | undefined
  /** Calls requests back; undefined: the plan has no eviction. */
  evictor: Evictor | undefined
  #usage!: UsageLimit
  #usageText = ''
  /** By priority; those of earlier plans stay while something waits in them. */
  readonly #bands = new Map<number, Band>()
  /** Of the plan, highest first. */
  #priorities: readonly number[] = []
  #ceilings = new Float64Array(0)
  #sequence = 0
  #waiting = 0
  #scheduled = false
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** @throws ZodError, RangeError for a share that lacks a band */
  constructor(plan: FlowControlPlan, share: FlowShare, table: EndpointTable, thread: number, clock: FlowClock) {
    this.#table = table
    this.#thread = thread
    this.#clock = clock
    this.adopt(plan, share)
  }

  /** Requests that wait here. */
  get waiting(): number {
    return this.#waiting
  }

  /** Goes over to a plan, or to the endpoints that the table has now; what waits goes on waiting. @throws as the constructor */
  adopt(plan: FlowControlPlan, share: FlowShare): void {
    const places = new Map(share.places)
    const saturation = this.#saturation
    if (saturation === undefined) this.#saturation = new Saturation(plan.saturation, this.#table)
    else saturation.adopt(plan.saturation)
    const usageText = JSON.stringify(plan.usageLimit)
    if (usageText !== this.#usageText) this.#usage = createUsageLimit(plan.usageLimit)
    this.#usageText = usageText
    if (share.memory !== this.#buffer) this.#move(share)
    this.#adoptEvictor(share)
    for (const band of plan.bands) {
      const known = this.#bands.get(band.priority)
      const place = places.get(band.priority)
      if (place === undefined) throw new RangeError(`no place for the band of priority ${band.priority}`)
      if (known === undefined) this.#bands.set(band.priority, new Band(band, place))
      else known.adopt(band, plan.requestTtlMs)
    }
    this.#plan = plan
    this.agentHeaders = (plan.agentHeaders ?? []).map(headerName)
    this.wantsUsage = plan.bands.some(({ fairness }) => goesByUsage(fairness))
    this.#priorities = plan.bands.map(({ priority }) => priority)
    this.#ceilings = new Float64Array(this.#priorities.length)
    this.#forgetBands()
    this.schedule()
  }

  /** A request has come. `entry` is kept only where it waits. */
  enter(entry: FlowEntry): Entering {
    const band = this.#bandOf(entry.priority)
    entry.arrivedAt = this.#clock.monotonicMs()
    if (this.#waiting === 0 && !this.#memory.higherElsewhere(entry.priority) && this.#isFree(band.priority)) {
      this.#memory.ended(band.place, FlowOutcome.DISPATCHED, 0)
      return Entering.NOW
    }
    if (this.#closed) {
      this.#memory.ended(band.place, FlowOutcome.REJECTED_OTHER, 0)
      return Entering.CLOSED
    }
    if (!this.#hasRoom(band, entry.bytes)) {
      this.#memory.ended(band.place, FlowOutcome.REJECTED_CAPACITY, 0)
      return Entering.FULL
    }
    entry.sequence = ++this.#sequence
    entry.sawNoEndpoint = this.#saturation.empty
    band.push(entry, this.#plan.requestTtlMs)
    this.#waiting++
    this.#memory.count(band.place, 1, entry.bytes)
    this.schedule()
    return Entering.WAITS
  }

  /** A request has used so many tokens more than was thought when it was sent on. */
  used(priority: number, fairnessId: string, tokens: number): void {
    this.#bandOf(priority).used(fairnessId, tokens, this.#clock.monotonicMs())
  }

  /** The client of a waiting request has gone, or it was refused for another reason. */
  cancel(entry: FlowEntry): void {
    if (entry.place < 0) return
    const band = this.#bandOf(entry.priority)
    band.remove(entry)
    this.#left(band, entry, FlowOutcome.EVICTED_CONTEXT_CANCELLED)
    // It may have been the one that all others waited for.
    this.schedule()
  }

  /** Something has changed that may let requests go on: here and at other threads. */
  signal(): void {
    this.#memory.signal()
  }

  /** Nothing may wait any more: all that does is told so. */
  close(outcome: FlowOutcome): void {
    this.#closed = true
    this.evictor?.close()
    clearTimeout(this.#timer)
    for (const band of this.#bands.values()) for (const entry of band.entries()) this.#drop(band, entry, outcome)
    this.#publish()
  }

  /** Flow control is switched off: all that waits goes on. */
  release(): void {
    this.evictor?.close()
    for (const band of this.#bands.values()) while (band.size > 0) this.#send(band)
    this.#publish()
  }

  /** Looks at the queues soon, but not from within what calls this: what goes on writes to streams. */
  schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.#run()
    })
  }

  #run(): void {
    const seen = this.#wake.now()
    for (let band = this.#next(); band !== undefined; band = this.#next()) this.#send(band)
    this.#publish()
    if (this.#waiting > 0 && this.evictor !== undefined) this.#reclaim(this.evictor)
    if (this.#waiting === 0) {
      clearTimeout(this.#timer)
      this.#timer = undefined
      this.#forgetBands()
      return
    }
    this.#wake.arm(seen)
    this.#timer ??= setTimeout(() => this.#checkTimes(), this.#nextTime()).unref()
  }

  /** The band of which a request may go on now. */
  #next(): Band | undefined {
    if (this.#waiting === 0) return undefined
    const band = this.#highest()
    if (band === undefined || this.#memory.higherElsewhere(band.priority) || !this.#isFree(band.priority))
      return undefined
    return band
  }

  #highest(): Band | undefined {
    let highest: Band | undefined
    for (const band of this.#bands.values())
      if (band.size > 0 && (highest === undefined || band.priority > highest.priority)) highest = band
    return highest
  }

  /** Is the pool below the ceiling of this priority? */
  #isFree(priority: number): boolean {
    const saturation = this.#saturation.measure(this.#clock.nowMs())
    if (this.#saturation.empty) return false
    this.#usage.ceilings(saturation, this.#priorities, this.#ceilings)
    return this.limit?.isReached !== true && saturation < this.#ceilingOf(priority)
  }

  /** As of the last decision. */
  #ceilingOf(priority: number): number {
    // A band that the plan no longer has goes with the next lower one.
    const rank = this.#priorities.findIndex(each => each <= priority)
    return this.#ceilings[rank < 0 ? this.#priorities.length - 1 : rank]!
  }

  /** The highest band must wait: `#isFree` has just said so, unless another thread has a higher one, which sees to it. */
  #reclaim(evictor: Evictor): void {
    const { priority } = this.#highest()!
    // Where there is no endpoint none gets free, and where nothing is known of any the pool may not be full at all.
    const { empty, known } = this.#saturation
    if (empty || !known || this.#memory.higherElsewhere(priority)) return
    evictor.reclaim({ priority, saturation: this.#saturation.effective, ceiling: this.#ceilingOf(priority) })
  }

  #send(band: Band): void {
    const entry = band.next(this.#clock.monotonicMs())
    this.#left(band, entry, FlowOutcome.DISPATCHED)
    entry.dispatched()
  }

  #drop(band: Band, entry: FlowEntry, outcome: FlowOutcome): void {
    band.remove(entry)
    this.#left(band, entry, outcome)
    entry.refused(outcome)
  }

  #left(band: Band, entry: FlowEntry, outcome: FlowOutcome): void {
    this.#waiting--
    this.#memory.count(band.place, -1, -entry.bytes)
    this.#memory.ended(band.place, outcome, this.#clock.monotonicMs() - entry.arrivedAt)
  }

  /** Others that waited for what was here are woken. */
  #publish(): void {
    const fell = this.#memory.publish(this.#waiting, this.#highest()?.priority ?? 0)
    if (fell) this.#memory.signal()
  }

  #hasRoom(band: Band, bytes: number): boolean {
    const memory = this.#memory
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

  /** Of a priority that the plan does not know, as an older plan's objectives may have given: the nearest one below, or the lowest. */
  #bandOf(priority: number): Band {
    const known = this.#bands.get(priority)
    if (known !== undefined) return known
    const priorities = this.#priorities
    return this.#bands.get(priorities.find(each => each <= priority) ?? priorities[priorities.length - 1]!)!
  }

  #checkTimes(): void {
    this.#timer = undefined
    const now = this.#clock.monotonicMs()
    this.#saturation.measure(this.#clock.nowMs())
    const { empty } = this.#saturation
    for (const band of this.#bands.values()) {
      if (band.size === 0) continue
      for (const entry of band.entries()) {
        if (empty) entry.sawNoEndpoint = true
        if (this.#endOf(entry, empty) > now) continue
        this.#drop(band, entry, empty ? FlowOutcome.EVICTED_NO_ENDPOINTS : FlowOutcome.EVICTED_TTL)
      }
    }
    this.#run()
  }

  /** Milliseconds to the first moment at which a request may have waited long enough. */
  #nextTime(): number {
    let first = Number.POSITIVE_INFINITY
    const { empty } = this.#saturation
    for (const band of this.#bands.values())
      for (const entry of band.entries()) first = Math.min(first, this.#endOf(entry, empty), this.#endOf(entry, !empty))
    if (first === Number.POSITIVE_INFINITY) return 0x7fffffff
    return Math.min(Math.max(first - this.#clock.monotonicMs(), TIMES_MS), 0x7fffffff)
  }

  /** When a request has waited long enough. One that has seen the pool empty may wait as long as that allows. */
  #endOf({ arrivedAt, timeoutMs, sawNoEndpoint }: FlowEntry, empty: boolean): number {
    const { requestTtlMs, noEndpointTtlMs } = this.#plan
    const queued = requestTtlMs === 0 ? Number.POSITIVE_INFINITY : requestTtlMs
    const unserved = noEndpointTtlMs === 0 ? Number.POSITIVE_INFINITY : noEndpointTtlMs
    const ttl = empty ? unserved : sawNoEndpoint ? Math.max(queued, unserved) : queued
    return arrivedAt + Math.min(ttl, timeoutMs)
  }

  #adoptEvictor(share: FlowShare): void {
    if (share.revocations === undefined) {
      this.evictor?.close()
      this.evictor = undefined
    } else if (this.evictor === undefined) {
      this.evictor = new Evictor(share, this.#thread, this.#clock, () => this.schedule())
    } else this.evictor.adopt(share, this.#thread)
  }

  #move(share: FlowShare): void {
    this.#buffer = share.memory
    this.#memory = new FlowMemory(share, this.#thread)
    this.#wake = new FlowWake(this.#memory.events, () => this.schedule())
  }

  #forgetBands(): void {
    if (this.#bands.size === this.#priorities.length) return
    for (const { priority, size } of this.#bands.values())
      if (size === 0 && !this.#priorities.includes(priority)) this.#bands.delete(priority)
  }
}
