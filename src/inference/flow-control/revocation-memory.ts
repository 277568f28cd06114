/**
 * What threads tell each other of the revocations of a pool, in shared memory. There is one decision at a time over all threads: whoever
 * makes one orders revocations of the threads that have the victims, in as many slots as a decision may have, and the next decision
 * comes when the slots are free again and a grace has passed.
 *
 * A slot's word is a token with a state in its lowest bits, 0 = free; tokens rise, so that what comes late finds another word.
 */
import { MAX_BANDS } from './flow-memory.ts'
import { MAX_REVOCATIONS } from './reclaim-size.ts'

/** A revocation whose stream has not ended by then is given up, ms. */
const CONFIRMATION_TIMEOUT_MS = 10_000
/** Upper ends of the histogram of confirmations, seconds. */
export const CONFIRMATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

const NO_VICTIM = 0x7fff_ffff
const ORDERED = 1
const ISSUED = 2

/** Words: the event on which threads with victims sleep, the lock, the token; then slots; then threads. */
const EVENT = 0
const LOCK = 1
const TOKEN = 2
const SLOTS = 3
const SLOT_WORDS = 3
const SLOT_THREAD = 1
const SLOT_PRIORITY = 2
const THREADS = SLOTS + MAX_REVOCATIONS * SLOT_WORDS
const THREAD_WORDS = 2 + MAX_REVOCATIONS
const IN_FLIGHT = 0
const EVICTABLE = 1
/** Priorities of its first victims. */
const VICTIMS = 2

/** Cells: of all; then slots; then threads. */
const RETIRED_AT = 0
const TARGET = 1
const SLOT_CELLS = 2
const DEBIT = 0
const ISSUED_AT = 1
const CELLS = 2 + MAX_REVOCATIONS * SLOT_CELLS
/** When its first victims were sent. */
const CONFIRMED = MAX_REVOCATIONS
const TIMED_OUT = CONFIRMED + 1
const HISTOGRAM = TIMED_OUT + 1
const HISTOGRAM_CELLS = CONFIRMATION_BUCKETS.length + 2
const BY_BAND = HISTOGRAM + HISTOGRAM_CELLS
const THREAD_CELLS = BY_BAND + MAX_BANDS

const wordsOf = (threads: number) => Math.ceil((THREADS + threads * THREAD_WORDS) / 2) * 2

export function createRevocationMemory(threads: number): SharedArrayBuffer {
  const words = wordsOf(threads)
  const memory = new SharedArrayBuffer(words * 4 + (CELLS + threads * THREAD_CELLS) * 8)
  const ints = new Int32Array(memory, 0, words)
  for (let thread = 0; thread < threads; thread++)
    ints.fill(NO_VICTIM, THREADS + thread * THREAD_WORDS + VICTIMS, THREADS + (thread + 1) * THREAD_WORDS)
  return memory
}

interface Sent {
  readonly priority: number
  /** Ms of the wall clock. */
  readonly sentAt: number
}

/** One that a thread has. */
interface Victim extends Sent {
  readonly thread: number
}

export interface RevocationFigures {
  /** By the bands' places. */
  readonly issued: readonly number[]
  readonly confirmed: number
  readonly timedOut: number
  /** How much was too much at the last decision, and what is on its way back, in parts of the saturation. */
  readonly target: number
  readonly pending: number
  readonly confirmation: { readonly buckets: readonly number[]; readonly sumSeconds: number }
}

export class RevocationMemory {
  /** Element 0 rises when revocations are ordered. */
  readonly events: Int32Array
  readonly #words: Int32Array
  readonly #cells: Float64Array
  readonly #threads: number
  readonly #thread: number

  constructor(memory: SharedArrayBuffer, threads: number, thread: number) {
    const words = wordsOf(threads)
    this.#words = new Int32Array(memory, 0, words)
    this.events = new Int32Array(memory, 0, 1)
    this.#cells = new Float64Array(memory, words * 4)
    this.#threads = threads
    this.#thread = thread
  }

  // What threads have.

  /** What this thread has in flight, how many of those may be called back, and which of them first. */
  publish(inFlight: number, evictable: number, first: Sent | undefined, second: Sent | undefined): void {
    const words = this.#threadWord(this.#thread)
    const cells = this.#threadCell(this.#thread)
    Atomics.store(this.#words, words + IN_FLIGHT, inFlight)
    Atomics.store(this.#words, words + EVICTABLE, evictable)
    this.#cells[cells] = first?.sentAt ?? 0
    this.#cells[cells + 1] = second?.sentAt ?? 0
    Atomics.store(this.#words, words + VICTIMS, first?.priority ?? NO_VICTIM)
    Atomics.store(this.#words, words + VICTIMS + 1, second?.priority ?? NO_VICTIM)
  }

  /** Requests in flight at all threads. */
  get inFlight(): number {
    return this.#sumWords(IN_FLIGHT)
  }

  get evictable(): number {
    return this.#sumWords(EVICTABLE)
  }

  /** The first victims below a priority, at all threads; at most `MAX_REVOCATIONS`. */
  victims(below: number): Victim[] {
    const found: Victim[] = []
    for (let thread = 0; thread < this.#threads; thread++)
      for (let i = 0; i < MAX_REVOCATIONS; i++) {
        const priority = Atomics.load(this.#words, this.#threadWord(thread) + VICTIMS + i)
        if (priority < below && priority !== NO_VICTIM)
          found.push({ thread, priority, sentAt: this.#cells[this.#threadCell(thread) + i]! })
      }
    return found.sort((a, b) => a.priority - b.priority || b.sentAt - a.sentAt).slice(0, MAX_REVOCATIONS)
  }

  /** Whether there is a victim below a priority. */
  hasVictim(below: number): boolean {
    for (let thread = 0; thread < this.#threads; thread++)
      if (Atomics.load(this.#words, this.#threadWord(thread) + VICTIMS) < below) return true
    return false
  }

  // Decisions.

  /** False: another thread decides. */
  lock(): boolean {
    return Atomics.compareExchange(this.#words, LOCK, 0, this.#thread + 1) === 0
  }

  unlock(): void {
    Atomics.store(this.#words, LOCK, 0)
  }

  /** How long no decision can be made yet, ms: 0 = it can. Gives up what has taken too long. */
  closedFor(nowMs: number, graceMs: number): number {
    let wait = 0
    for (let slot = 0; slot < MAX_REVOCATIONS; slot++) {
      const word = Atomics.load(this.#words, this.#slotWord(slot))
      if (word === 0) continue
      const left = this.#cells[this.#slotCell(slot) + ISSUED_AT]! + CONFIRMATION_TIMEOUT_MS - nowMs
      if (left > 0) wait = Math.max(wait, Math.min(left, CONFIRMATION_TIMEOUT_MS))
      else if (this.#retire(slot, word, nowMs) && (word & ISSUED) !== 0)
        this.#cells[this.#threadCell(this.#thread) + TIMED_OUT]!++
    }
    return wait > 0 ? wait : this.#graceLeft(nowMs, graceMs)
  }

  /** For the decision under way: how much is too much. */
  setTarget(target: number): void {
    this.#cells[TARGET] = target
  }

  /** What revocations under way, or just over, take away of the saturation. */
  pending(nowMs: number, graceMs: number): number {
    const cooling = this.#graceLeft(nowMs, graceMs) > 0
    let sum = 0
    for (let slot = 0; slot < MAX_REVOCATIONS; slot++)
      if (cooling || Atomics.load(this.#words, this.#slotWord(slot)) !== 0)
        sum += this.#cells[this.#slotCell(slot) + DEBIT]!
    return sum
  }

  /** Of the decision under way: revocations of victims below a priority, each worth so much. Locked, and the slots are free. */
  order(victims: readonly Victim[], below: number, debit: number, nowMs: number): void {
    for (let slot = 0; slot < MAX_REVOCATIONS; slot++) {
      const victim = victims[slot]
      this.#cells[this.#slotCell(slot) + DEBIT] = victim === undefined ? 0 : debit
      if (victim === undefined) continue
      const at = this.#slotWord(slot)
      this.#cells[this.#slotCell(slot) + ISSUED_AT] = nowMs
      this.#words[at + SLOT_THREAD] = victim.thread
      this.#words[at + SLOT_PRIORITY] = below
      Atomics.store(this.#words, at, (Atomics.add(this.#words, TOKEN, 4) & ~3) | ORDERED)
    }
    Atomics.add(this.#words, EVENT, 1)
    Atomics.notify(this.events, EVENT)
  }

  // Revocations of this thread.

  /** What this thread is ordered to do in a slot; 0: nothing. */
  orderIn(slot: number): number {
    const at = this.#slotWord(slot)
    const word = Atomics.load(this.#words, at)
    return (word & 3) === ORDERED && this.#words[at + SLOT_THREAD] === this.#thread ? word : 0
  }

  /** Victims of the order in a slot are below this priority. */
  below(slot: number): number {
    return this.#words[this.#slotWord(slot) + SLOT_PRIORITY]!
  }

  /** The order was in vain: there is no victim any more. */
  decline(slot: number, word: number): void {
    this.#cells[this.#slotCell(slot) + DEBIT] = 0
    Atomics.compareExchange(this.#words, this.#slotWord(slot), word, 0)
  }

  /** A victim of the band is about to be revoked. Returns its word; 0: the order was given up meanwhile. */
  issue(slot: number, word: number, place: number, nowMs: number): number {
    const issued = (word & ~3) | ISSUED
    this.#cells[this.#slotCell(slot) + ISSUED_AT] = nowMs
    if (Atomics.compareExchange(this.#words, this.#slotWord(slot), word, issued) !== word) return 0
    this.#cells[this.#threadCell(this.#thread) + BY_BAND + place]!++
    return issued
  }

  /** The stream of a revoked request has ended. */
  confirm(slot: number, word: number, nowMs: number): void {
    const seconds = Math.max(0, nowMs - this.#cells[this.#slotCell(slot) + ISSUED_AT]!) / 1000
    if (!this.#retire(slot, word, nowMs)) return
    const own = this.#threadCell(this.#thread)
    let bucket = 0
    while (bucket < CONFIRMATION_BUCKETS.length && seconds > CONFIRMATION_BUCKETS[bucket]!) bucket++
    this.#cells[own + CONFIRMED]!++
    this.#cells[own + HISTOGRAM + bucket]!++
    this.#cells[own + HISTOGRAM + HISTOGRAM_CELLS - 1]! += seconds
  }

  // Main thread.

  /** A thread hangs: nothing is ordered of it until it says again what it has. */
  ignore(thread: number): void {
    for (let i = 0; i < MAX_REVOCATIONS; i++)
      Atomics.store(this.#words, this.#threadWord(thread) + VICTIMS + i, NO_VICTIM)
  }

  /** A thread has died, and its streams with it. */
  forget(thread: number): void {
    this.ignore(thread)
    Atomics.store(this.#words, this.#threadWord(thread) + IN_FLIGHT, 0)
    Atomics.store(this.#words, this.#threadWord(thread) + EVICTABLE, 0)
    for (let slot = 0; slot < MAX_REVOCATIONS; slot++)
      if (this.#words[this.#slotWord(slot) + SLOT_THREAD] === thread)
        Atomics.store(this.#words, this.#slotWord(slot), 0)
    Atomics.compareExchange(this.#words, LOCK, thread + 1, 0)
  }

  figures(nowMs: number, graceMs: number): RevocationFigures {
    const sum = (cell: number) => {
      let total = 0
      for (let thread = 0; thread < this.#threads; thread++) total += this.#cells[this.#threadCell(thread) + cell]!
      return total
    }
    return {
      issued: Array.from({ length: MAX_BANDS }, (_, place) => sum(BY_BAND + place)),
      confirmed: sum(CONFIRMED),
      timedOut: sum(TIMED_OUT),
      target: this.#cells[TARGET]!,
      pending: this.pending(nowMs, graceMs),
      confirmation: {
        buckets: Array.from({ length: HISTOGRAM_CELLS - 1 }, (_, i) => sum(HISTOGRAM + i)),
        sumSeconds: sum(HISTOGRAM + HISTOGRAM_CELLS - 1),
      },
    }
  }

  #retire(slot: number, word: number, nowMs: number): boolean {
    if (Atomics.compareExchange(this.#words, this.#slotWord(slot), word, 0) !== word) return false
    this.#cells[RETIRED_AT] = nowMs
    return true
  }

  #graceLeft(nowMs: number, graceMs: number): number {
    const since = nowMs - this.#cells[RETIRED_AT]!
    // Another thread may be a little ahead; a clock that was set back closes nothing for long.
    if (since < 0) return since > -CONFIRMATION_TIMEOUT_MS ? graceMs : 0
    return Math.max(0, graceMs - since)
  }

  #slotWord(slot: number): number {
    return SLOTS + slot * SLOT_WORDS
  }

  #slotCell(slot: number): number {
    return 2 + slot * SLOT_CELLS
  }

  #threadWord(thread: number): number {
    return THREADS + thread * THREAD_WORDS
  }

  #threadCell(thread: number): number {
    return CELLS + thread * THREAD_CELLS
  }

  #sumWords(word: number): number {
    let sum = 0
    for (let thread = 0; thread < this.#threads; thread++)
      sum += Atomics.load(this.#words, this.#threadWord(thread) + word)
    return sum
  }
}
