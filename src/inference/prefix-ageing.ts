/**
 * Ageing of a prefix index (./prefix-index.ts), in its memory. An endpoint remembers at most about as many blocks as it can hold (`holds`) and
 * the table has room for (`room`), those recorded last: when half as many new ones came to it since it aged last, it is due; a hand
 * that sweeps over the table, some buckets per new block, moves the `recent` bits of the endpoints that are due to `older` and drops
 * what was there.
 *
 * Any thread pays for steps of the sweep: the hand is moved by compare-and-exchange, so that one thread sweeps each bucket.
 */
import { HIGH, prefixIndexLayout, type PrefixIndexState, SETS, WAYS } from './prefix-index-state.ts'

/** Values of the hand that are no bucket. */
const IDLE = -1
const STARTING = -2
/** Buckets swept per new block of an endpoint that isn't waiting for the sweep itself. */
const SWEEP_STEP = 2
/** Buckets swept at once at most: a tenth of a millisecond. */
const LONGEST_SWEEP = 2048
const LEAST_CAPACITY = 16
const GREATEST_CAPACITY = 0x3fffffff

export class PrefixAgeing {
  readonly #state: PrefixIndexState
  /** All of the memory, in 32-bit words. */
  readonly #memory: Int32Array
  /** Words of a set of slots. */
  readonly #words: number
  /** Offsets in `#memory`. */
  readonly #hand: number
  readonly #room: number
  readonly #aging: number
  readonly #fresh: number
  readonly #capacities: number
  readonly #buckets: number

  constructor(state: PrefixIndexState, memory: Int32Array) {
    const layout = prefixIndexLayout(state.slots)
    this.#state = state
    this.#memory = memory
    this.#words = state.slots >> 5
    this.#hand = layout.hand
    this.#room = layout.room
    this.#aging = layout.aging
    this.#fresh = layout.fresh
    this.#capacities = layout.capacities
    this.#buckets = layout.buckets
  }

  /** Blocks of each endpoint that the table has room for. */
  set room(blocks: number) {
    this.#memory[this.#room] = blocks
  }

  /** The slot's endpoint can hold so many blocks; 0: nobody knows. Control plane only. */
  holds(slot: number, blocks: number): void {
    const at = this.#capacities + slot
    const capacity = blocks <= 0 ? 0 : Math.min(Math.max(LEAST_CAPACITY, Math.floor(blocks)), GREATEST_CAPACITY)
    if (this.#memory[at] !== capacity) this.#memory[at] = capacity
  }

  /** What is known of this slot's endpoint counts no more. */
  forget(slot: number): void {
    this.#memory[this.#fresh + slot] = this.#memory[this.#capacities + slot] = 0
  }

  /** Takes over what is known of the slots of a smaller table. */
  goOnFrom(before: PrefixAgeing): void {
    const { slots } = before.#state
    this.#memory.set(before.#memory.subarray(before.#fresh, before.#fresh + slots), this.#fresh)
    this.#memory.set(before.#memory.subarray(before.#capacities, before.#capacities + slots), this.#capacities)
  }

  /** A thread has died, perhaps while it started a sweep. */
  threadDied(): void {
    Atomics.compareExchange(this.#memory, this.#hand, STARTING, IDLE)
  }

  /** Blocks were new to the slot: pays for some steps of the sweep, and starts one when the slot is due. */
  added(slot: number, count: number): void {
    const memory = this.#memory
    const half = this.#half(slot)
    const fresh = Atomics.add(memory, this.#fresh + slot, count) + count
    if (memory[this.#hand] === IDLE) {
      if (fresh <= half) return
      this.#startSweep()
    }
    // A slot that waits for the next sweep pushes this one, so that it does not go far over its share.
    // One that says it holds next to nothing pushes no harder than one with a quarter of the room: what it says must not cost others.
    const pace = Math.max(half, memory[this.#room]! >> 3)
    const step = fresh > half ? Math.max(SWEEP_STEP, Math.ceil((4 * this.#state.buckets) / pace)) : SWEEP_STEP
    this.#sweep(Math.min(step * count, LONGEST_SWEEP))
  }

  /** New blocks after which the slot is due. Without room for more than that all of them would stay recent, and none would be the one to go. */
  #half(slot: number): number {
    const room = this.#memory[this.#room]!
    return Math.max(1, Math.min(this.#memory[this.#capacities + slot]! || room, room) >> 1)
  }

  #startSweep(): void {
    const memory = this.#memory
    if (Atomics.compareExchange(memory, this.#hand, IDLE, STARTING) !== IDLE) return
    memory.fill(0, this.#aging, this.#aging + this.#words)
    for (let slot = 0; slot < this.#state.slots; slot++) {
      if (memory[this.#fresh + slot]! <= this.#half(slot)) continue
      memory[this.#aging + (slot >> 5)]! |= 1 << (slot & 31)
      memory[this.#fresh + slot] = 0
    }
    Atomics.store(memory, this.#hand, 0)
  }

  #sweep(steps: number): void {
    const memory = this.#memory
    const words = this.#words
    const { stride, buckets } = this.#state
    const from = Atomics.load(memory, this.#hand)
    if (from < 0) return
    const to = Math.min(from + steps, buckets)
    // Another thread may have been quicker: then it sweeps, and the next new block goes on.
    if (Atomics.compareExchange(memory, this.#hand, from, to === buckets ? IDLE : to) !== from) return
    for (let bucket = this.#buckets + from * stride; bucket < this.#buckets + to * stride; bucket += stride) {
      for (let way = 0; way < WAYS; way++) {
        if (memory[bucket + way] === 0 && memory[bucket + HIGH + way] === 0) continue
        const sets = bucket + SETS + way * 2 * words
        let left = 0
        for (let word = 0; word < words; word++) {
          const aging = memory[this.#aging + word]!
          const recent = memory[sets + word]!
          const older = (memory[sets + words + word]! & ~aging) | (recent & aging)
          memory[sets + word] = recent & ~aging
          memory[sets + words + word] = older
          left |= older | (recent & ~aging)
        }
        if (left === 0) memory[bucket + way] = memory[bucket + HIGH + way] = 0
      }
    }
  }
}
