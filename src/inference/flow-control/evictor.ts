/**
 * Takes capacity back for requests that wait (epp.md §3.10, "Eviction"): requests of negative priority that were sent on are called back
 * while one of higher priority waits because the pool is too full. One object a thread and pool, where the pool asks for it. Each
 * thread calls back its own requests; which ones, and when, is decided for all threads together (./revocation-memory.ts).
 */
import { EntryHeap } from './entry-heap.ts'
import type { FlowClock } from './flow-control.ts'
import type { FlowShare } from './flow-memory.ts'
import { FlowWake } from './flow-wake.ts'
import { isSheddable, type Lease } from './lease.ts'
import { creditOf, MAX_REVOCATIONS, reclaimSize } from './reclaim-size.ts'
import { RevocationMemory } from './revocation-memory.ts'

/** What stands before a band's requests. */
export interface Demand {
  readonly priority: number
  readonly saturation: number
  readonly ceiling: number
}

export class Evictor {
  readonly #clock: FlowClock
  /** Something may be decided now that could not be before. */
  readonly #retry: () => void
  readonly #victims = new EntryHeap<Lease>()
  #memory!: RevocationMemory
  #buffer: SharedArrayBuffer | undefined
  #wake!: FlowWake
  #graceMs = 0
  #places: ReadonlyMap<number, number> = new Map()
  #inFlight = 0
  #sequence = 0
  #timer: NodeJS.Timeout | undefined
  #dueAt = 0
  #closed = false

  /** @throws RangeError for a share without memory for it */
  constructor(share: FlowShare, thread: number, clock: FlowClock, retry: () => void) {
    this.#clock = clock
    this.#retry = retry
    this.adopt(share, thread)
  }

  /** @throws RangeError for a share without memory for it */
  adopt({ revocations, threads, places }: FlowShare, thread: number): void {
    if (revocations === undefined) throw new RangeError('eviction has no memory')
    this.#graceMs = revocations.graceMs
    this.#places = new Map(places)
    if (revocations.memory === this.#buffer) return
    this.#buffer = revocations.memory
    this.#memory = new RevocationMemory(revocations.memory, threads, thread)
    this.#wake = new FlowWake(this.#memory.events, () => this.#listen())
    this.#publish()
  }

  /** A request was sent on. Calls nothing back. */
  begin(lease: Lease): void {
    if (this.#closed) return
    const seen = this.#wake.now()
    lease.counted = true
    this.#inFlight++
    if (isSheddable(lease)) {
      lease.sentAt = this.#clock.nowMs()
      lease.sequence = -++this.#sequence
      this.#victims.push(lease)
      this.#wake.arm(seen)
    }
    this.#publish()
  }

  /** It is over, or was called back and its stream has ended. */
  end(lease: Lease): void {
    if (!lease.counted) return
    lease.counted = false
    this.#inFlight--
    if (lease.place >= 0) this.#victims.remove(lease)
    if (!this.#closed) this.#publish()
    if (lease.word !== 0) this.#memory.confirm(lease.slot, lease.word, this.#clock.nowMs())
  }

  /** The highest band in which anything waits can't go on. Calls requests back, here or at other threads, if it is time to. */
  reclaim({ priority, saturation, ceiling }: Demand): void {
    const memory = this.#memory
    // Nothing that is called back would ever open a ceiling of 0.
    if (ceiling <= 0) return
    const wait = memory.closedFor(this.#clock.nowMs(), this.#graceMs)
    if (wait > 0) return this.#retryIn(wait)
    if (!memory.hasVictim(priority)) return
    // Who decides now leaves slots taken, or nothing to be done.
    if (!memory.lock()) return this.#retryIn(this.#graceMs)
    // Another thread may have decided between the two looks.
    const nowMs = this.#clock.nowMs()
    if (memory.closedFor(nowMs, this.#graceMs) === 0) this.#decide({ priority, saturation, ceiling }, nowMs)
    memory.unlock()
    this.#retryIn(this.#graceMs)
    this.#obey()
  }

  /** Nothing is called back any more. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    while (this.#victims.head !== undefined) this.#victims.remove(this.#victims.head)
    this.#inFlight = 0
    this.#publish()
  }

  #decide({ priority, saturation, ceiling }: Demand, nowMs: number): void {
    const memory = this.#memory
    const { inFlight, evictable } = memory
    const pending = memory.pending(nowMs, this.#graceMs)
    memory.setTarget(Math.max(0, saturation - ceiling))
    const size = reclaimSize({ saturation, ceiling, pending, inFlight, evictable })
    const victims = memory.victims(priority).slice(0, size)
    if (victims.length > 0) memory.order(victims, priority, creditOf(saturation, inFlight), nowMs)
  }

  /** Sleeps on orders for as long as there is anything to call back. */
  #listen(): void {
    const seen = this.#wake.now()
    this.#obey()
    if (this.#victims.size > 0) this.#wake.arm(seen)
  }

  /** Does what this thread is ordered to. */
  #obey(): void {
    const memory = this.#memory
    for (let slot = 0; slot < MAX_REVOCATIONS; slot++) {
      const order = memory.orderIn(slot)
      if (order === 0) continue
      const victim = this.#victims.head
      if (victim === undefined || victim.priority >= memory.below(slot)) {
        memory.decline(slot, order)
        continue
      }
      const word = memory.issue(slot, order, this.#places.get(victim.priority) ?? 0, this.#clock.nowMs())
      if (word === 0) continue
      this.#victims.remove(victim)
      this.#publish()
      victim.slot = slot
      victim.word = word
      victim.revoke()
    }
  }

  #publish(): void {
    const { size, head, second } = this.#victims
    this.#memory.publish(this.#inFlight, size, head, second)
  }

  /** One timer, for the first moment that was asked for. */
  #retryIn(ms: number): void {
    const dueAt = performance.now() + ms
    if (this.#timer !== undefined && this.#dueAt <= dueAt) return
    clearTimeout(this.#timer)
    this.#dueAt = dueAt
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#retry()
    }, ms).unref()
  }
}
