/**
 * Queues in front of a pool, as one thread has them (epp.md §3.10): requests wait while the pool is saturated, and go on by priority, by
 * fairness between those who send them, and by the order of their flow. What lets requests go on are events: one arrives, one is over, a
 * scrape tells something new (./flow-memory.ts). There is no clock but a timer for the first one whose time is up.
 *
 * The head of the line: as long as the highest band in which anything waits, at any thread, must wait, everything waits. Of equals, one
 * that comes does not go before those that wait, at other threads either: those are left the first try.
 */
import type { EndpointTable } from '../endpoint-table.ts'
import type { Band } from './band.ts'
import { Bands } from './bands.ts'
import { Deadlines } from './deadlines.ts'
import { DueTimer } from './due-timer.ts'
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

/**
 * Times are looked at so often, ms: a request may wait that much longer than it may. Also how long those who wait at other threads
 * are given to take a free place: one of them may hang.
 */
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
  readonly #bands = new Bands()
  #ceilings = new Float64Array(0)
  #sequence = 0
  #waiting = 0
  #scheduled = false
  /** What came here first must let equals that wait elsewhere try first: until the next event, or for `TIMES_MS`. */
  #yields = false
  readonly #deadlines = new Deadlines()
  readonly #timer = new DueTimer(() => this.#checkTimes())
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

  /** Nothing may wait any more: `close`. */
  get isClosed(): boolean {
    return this.#closed
  }

  /** Goes over to a plan, or to the endpoints that the table has now; what waits goes on waiting. @throws as the constructor */
  adopt(plan: FlowControlPlan, share: FlowShare): void {
    const saturation = this.#saturation
    if (saturation === undefined) this.#saturation = new Saturation(plan.saturation, this.#table)
    else saturation.adopt(plan.saturation)
    const usageText = JSON.stringify(plan.usageLimit)
    if (usageText !== this.#usageText) this.#usage = createUsageLimit(plan.usageLimit)
    this.#usageText = usageText
    if (share.memory !== this.#buffer) this.#move(share)
    this.#adoptEvictor(share)
    this.#bands.adopt(plan, new Map(share.places))
    this.#plan = plan
    this.#deadlines.adopt(plan)
    this.wantsUsage = plan.bands.some(({ fairness }) => goesByUsage(fairness))
    this.#ceilings = new Float64Array(this.#bands.priorities.length)
    this.schedule()
  }

  /** A request has come. `entry` is kept only where it waits. */
  enter(entry: FlowEntry): Entering {
    const band = this.#bands.of(entry.priority)
    entry.arrivedAt = this.#clock.monotonicMs()
    const memory = this.#memory
    if (this.#waiting === 0 && !memory.waitsElsewhere(band.priority) && this.#isFree(band.priority)) {
      memory.ended(band.place, FlowOutcome.DISPATCHED, 0)
      return Entering.NOW
    }
    if (this.#closed) {
      memory.ended(band.place, FlowOutcome.REJECTED_OTHER, 0)
      return Entering.CLOSED
    }
    if (!this.#bands.hasRoom(band, entry.bytes, memory)) {
      memory.ended(band.place, FlowOutcome.REJECTED_CAPACITY, 0)
      return Entering.FULL
    }
    entry.sequence = ++this.#sequence
    this.#deadlines.add(entry, band)
    band.push(entry, this.#plan.requestTtlMs)
    this.#waiting++
    memory.count(band.place, 1, entry.bytes)
    // Told before the pool is looked at again: whoever frees a place in between must know that something waits.
    this.#publish()
    this.#yields ||= this.#waiting === 1
    this.schedule()
    return Entering.WAITS
  }

  /** A request has used so many tokens more than was thought when it was sent on. */
  used(priority: number, fairnessId: string, tokens: number): void {
    this.#bands.of(priority).used(fairnessId, tokens, this.#clock.monotonicMs())
  }

  /** The client of a waiting request has gone, or it was refused for another reason. */
  cancel(entry: FlowEntry): void {
    if (entry.place < 0) return
    const band = this.#deadlines.bandOf(entry)
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
    this.#timer.clear()
    for (const band of this.#bands.all()) for (const entry of band.entries()) this.#drop(band, entry, outcome)
    this.#publish()
  }

  /** Flow control is switched off: all that waits goes on. */
  release(): void {
    this.evictor?.close()
    for (const band of this.#bands.all()) while (band.size > 0) this.#send(band)
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
    if (this.#waiting === 0) {
      this.#timer.clear()
      this.#yields = false
      this.#bands.forgetEmpty()
      return
    }
    // Where it yields, the pool has room.
    if (this.evictor !== undefined && !this.#yields) this.#reclaim(this.evictor)
    this.#wake.arm(seen)
    const now = this.#clock.monotonicMs()
    const soon = now + TIMES_MS
    this.#timer.setBy(this.#yields ? soon : Math.max(this.#deadlines.next, soon), now)
  }

  /** Those who were let try first have had the same event. */
  #woken(): void {
    this.#yields = false
    this.schedule()
  }

  /** The band of which a request may go on now. */
  #next(): Band | undefined {
    if (this.#waiting === 0) return undefined
    const band = this.#bands.highest()
    if (band === undefined) return undefined
    if (this.#memory.higherElsewhere(band.priority)) {
      this.#measure()
      return undefined
    }
    const isFree = this.#isFree(band.priority)
    this.#yields &&= isFree && this.#memory.waitsElsewhere(band.priority)
    return isFree && !this.#yields ? band : undefined
  }

  /** Whatever comes of it: deadlines depend on whether there is an endpoint. */
  #measure(): number {
    const saturation = this.#saturation.measure(this.#clock.nowMs())
    this.#deadlines.see(this.#saturation.empty)
    return saturation
  }

  /** Is the pool below the ceiling of this priority? */
  #isFree(priority: number): boolean {
    const saturation = this.#measure()
    if (this.#saturation.empty) return false
    this.#usage.ceilings(saturation, this.#bands.priorities, this.#ceilings)
    return this.limit?.isReached !== true && saturation < this.#ceilingOf(priority)
  }

  /** As of the last decision. */
  #ceilingOf(priority: number): number {
    return this.#ceilings[this.#bands.rankOf(priority)]!
  }

  /** The highest band must wait: `#isFree` has just said so, unless another thread has a higher one, which sees to it. */
  #reclaim(evictor: Evictor): void {
    const { priority } = this.#bands.highest()!
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
    this.#deadlines.remove(entry)
    this.#memory.count(band.place, -1, -entry.bytes)
    this.#memory.ended(band.place, outcome, this.#clock.monotonicMs() - entry.arrivedAt)
  }

  /** Others that waited for what was here are woken. */
  #publish(): void {
    const fell = this.#memory.publish(this.#waiting, this.#bands.highest()?.priority ?? 0)
    if (fell) this.#memory.signal()
  }

  #checkTimes(): void {
    this.#yields = false
    this.#measure()
    const now = this.#clock.monotonicMs()
    const outcome = this.#saturation.empty ? FlowOutcome.EVICTED_NO_ENDPOINTS : FlowOutcome.EVICTED_TTL
    for (let late = this.#deadlines.due(now); late !== undefined; late = this.#deadlines.due(now))
      this.#drop(late.band, late.entry, outcome)
    this.#run()
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
    this.#wake = new FlowWake(this.#memory.events, () => this.#woken())
  }
}
