/**
 * Counters of a table's endpoints (design.md, "In-flight counts"), in segments that never move (./endpoint-table-state.ts). A
 * segment has a block per thread, a block a row of `SEGMENT_SLOTS` 32-bit numbers per kind:
 *
 * | kind | counts | written by |
 * |---|---|---|
 * | `DECIDED` | requests decided by the thread | the thread |
 * | `RELEASED` | requests that it knows to be over; those of the main thread are for all threads | the thread |
 * | `ENDED` | requests whose end nobody will tell, to be released by a scrape | the thread |
 * | `COVERED` | `ENDED` when the scrape under way began | the main thread |
 * | `SETTLED` | `ENDED` as far as it was released | the main thread |
 * | `MISSES` | requests in a row that the endpoint did not answer; only in block 0 | any thread |
 * | `AVOIDED` | until when it is avoided for that, s of the clock; only in block 0 | any thread |
 * | `TOKENS` | tokens of requests that the thread decided, less those that it gave back | the thread |
 *
 * Behind the blocks stands until when, at the most, any endpoint of the segment is avoided (s): so that picks need not ask of each.
 *
 * Where other replicas of Signalbox tell what they have counted, a further block holds that (`DECIDED`, `RELEASED`, `TOKENS`); the main
 * thread writes it.
 *
 * A thread that has died writes nothing any more: the main thread then writes in its block, before a successor starts. It writes in
 * all blocks when a slot gets a new tenant (`begin`). All numbers
 * run modulo 2³²; only differences mean anything. Sums over threads are read without locks: a count that is an instant old is
 * as good, and 100 endpoints are summed per pick.
 */
import { COUNTER_KINDS, SEGMENT_SLOTS } from './endpoint-table-state.ts'

const DECIDED = 0
const RELEASED = SEGMENT_SLOTS
const ENDED = 2 * SEGMENT_SLOTS
const COVERED = 3 * SEGMENT_SLOTS
const SETTLED = 4 * SEGMENT_SLOTS
const MISSES = 5 * SEGMENT_SLOTS
const AVOIDED = 6 * SEGMENT_SLOTS
const TOKENS = 7 * SEGMENT_SLOTS
const BLOCK = COUNTER_KINDS * SEGMENT_SLOTS
const SHIFT = Math.log2(SEGMENT_SLOTS)
const MASK = SEGMENT_SLOTS - 1
/** How long an endpoint is avoided after the first miss, doubled with each further one up to the fourth. Memory of it decays as long again. */
const AVOIDED_S = 5
const MOST_DOUBLINGS = 3

export class EndpointCounters {
  readonly thread: number
  #segments: readonly Int32Array[] = []
  /** The words behind the blocks, one a segment. */
  #alarms: readonly Int32Array[] = []
  /** Block of other replicas; −1 = there is none. */
  #peers = -1

  constructor(thread: number) {
    this.thread = thread
  }

  /** @param peers block of other replicas; −1 = there is none */
  adopt(segments: readonly SharedArrayBuffer[], peers: number): void {
    const words = segments.map(memory => new Int32Array(memory))
    this.#segments = words.map(all => all.subarray(0, -1))
    this.#alarms = words.map(all => all.subarray(-1))
    this.#peers = peers
  }

  decide(slot: number): void {
    Atomics.add(this.#segments[slot >> SHIFT]!, this.thread * BLOCK + DECIDED + (slot & MASK), 1)
  }

  /** The request decided last has so many tokens. */
  addTokens(slot: number, tokens: number): void {
    Atomics.add(this.#segments[slot >> SHIFT]!, this.thread * BLOCK + TOKENS + (slot & MASK), tokens)
  }

  /** Tokens of requests in flight, where they are counted. */
  tokens(slot: number): number {
    return Math.max(0, this.#sum(slot, TOKENS))
  }

  /**
   * `count` requests are over; negative: fewer than was said. `tokens`: of them together; absent where nobody knows: then they had as many
   * as all of this process that are outstanding have on average, so that nothing is left of the last one.
   */
  release(slot: number, count: number, tokens = this.#meanTokens(slot, count)): void {
    if (tokens !== 0) this.addTokens(slot, -Math.round(tokens))
    Atomics.add(this.#segments[slot >> SHIFT]!, this.thread * BLOCK + RELEASED + (slot & MASK), count)
  }

  end(slot: number): void {
    Atomics.add(this.#segments[slot >> SHIFT]!, this.thread * BLOCK + ENDED + (slot & MASK), 1)
  }

  /** Main thread: what other replicas say to have counted since they said so last. */
  addPeers(slot: number, decided: number, released: number, tokens: number): void {
    const segment = this.#segments[slot >> SHIFT]!
    const at = this.#peers * BLOCK + (slot & MASK)
    segment[at + DECIDED]! += decided
    segment[at + RELEASED]! += released
    segment[at + TOKENS]! += tokens
  }

  /** Decided by other replicas and not released. */
  peers(slot: number): number {
    if (this.#peers < 0) return 0
    const segment = this.#segments[slot >> SHIFT]!
    const at = this.#peers * BLOCK + (slot & MASK)
    return (segment[at + DECIDED]! - segment[at + RELEASED]!) | 0
  }

  /** Decided by this process's threads and not released. */
  own(slot: number): number {
    return this.#peers < 0 ? this.outstanding(slot) : (this.outstanding(slot) - this.peers(slot)) | 0
  }

  /** … and all that were ever decided by them, modulo 2³². */
  ownDecided(slot: number): number {
    return this.#own(slot, DECIDED)
  }

  /** … and all of those that are over. */
  ownReleased(slot: number): number {
    return this.#own(slot, RELEASED)
  }

  /** … and the tokens of those that are not. */
  ownTokens(slot: number): number {
    return this.#own(slot, TOKENS)
  }

  /** Decided by all threads, and by other replicas, and not released. */
  outstanding(slot: number): number {
    const segment = this.#segments[slot >> SHIFT]!
    let sum = 0
    for (let at = slot & MASK; at < segment.length; at += BLOCK) sum += segment[at]! - segment[at + RELEASED]!
    return sum | 0
  }

  /**
   * For each of `slots[0, count)`: how many requests are decided and not released, and how many of these were decided since `observed[slot]`
   * were. One pass, because every pick asks of all.
   */
  open(slots: Int32Array, count: number, observed: Int32Array, outstanding: Float64Array, unseen: Float64Array): void {
    const segments = this.#segments
    let segment = segments[0]!
    let at = 0
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!
      if (slot >> SHIFT !== at) {
        at = slot >> SHIFT
        segment = segments[at]!
      }
      let decided = 0
      let released = 0
      for (let word = slot & MASK; word < segment.length; word += BLOCK) {
        decided = (decided + segment[word]!) | 0
        released = (released + segment[word + RELEASED]!) | 0
      }
      const all = (decided - released) | 0
      const since = (decided - observed[slot]!) | 0
      outstanding[i] = all < 0 ? 0 : all
      unseen[i] = since <= 0 || all <= 0 ? 0 : since < all ? since : all
    }
  }

  decided(slot: number): number {
    return this.#sum(slot, DECIDED)
  }

  /** Main thread: a scrape begins that covers what has ended by now. */
  cover(slot: number): void {
    const segment = this.#segments[slot >> SHIFT]!
    for (let at = slot & MASK; at < segment.length; at += BLOCK) segment[at + COVERED] = segment[at + ENDED]!
  }

  /** Main thread: that scrape was good. Returns how many ends it covers, each once. */
  takeCovered(slot: number): number {
    const segment = this.#segments[slot >> SHIFT]!
    let sum = 0
    for (let at = slot & MASK; at < segment.length; at += BLOCK) {
      sum += segment[at + COVERED]! - segment[at + SETTLED]!
      segment[at + SETTLED] = segment[at + COVERED]!
    }
    return sum | 0
  }

  /** Ends that no scrape was taken to cover yet. */
  ended(slot: number): number {
    const segment = this.#segments[slot >> SHIFT]!
    let sum = 0
    for (let at = slot & MASK; at < segment.length; at += BLOCK) sum += segment[at + ENDED]! - segment[at + SETTLED]!
    return sum | 0
  }

  /** Main thread: up to `most` of these are taken without a scrape, each once. Returns how many. */
  takeEnded(slot: number, most: number): number {
    const segment = this.#segments[slot >> SHIFT]!
    let left = most
    for (let at = slot & MASK; at < segment.length && left > 0; at += BLOCK) {
      const taken = Math.min(left, (segment[at + ENDED]! - segment[at + SETTLED]!) | 0)
      if (taken <= 0) continue
      segment[at + SETTLED] = segment[at + SETTLED]! + taken
      // A scrape under way covers no less than what is settled.
      if (((segment[at + COVERED]! - segment[at + SETTLED]!) | 0) < 0) segment[at + COVERED] = segment[at + SETTLED]!
      left -= taken
    }
    return most - left
  }

  /**
   * Main thread: a new tenant begins with nothing. Every thread has adopted a plan without the old one, and a late release fails on its
   * generation: so nobody else writes here now.
   */
  begin(slot: number): void {
    const segment = this.#segments[slot >> SHIFT]!
    for (let at = slot & MASK; at < segment.length; at += SEGMENT_SLOTS) segment[at] = 0
  }

  /** Main thread: the requests of a thread that has died, and that no access log will tell of, are over. */
  releaseThread(slot: number, thread: number): void {
    const segment = this.#segments[slot >> SHIFT]!
    const at = thread * BLOCK + (slot & MASK)
    const open = segment[at]! - segment[at + RELEASED]!
    // Those of its ends that were settled are released in our own block.
    const lost = (open - segment[at + SETTLED]!) | 0
    // Some may have been given up on before: the sum must not fall below what is outstanding.
    const counted = Math.max(0, Math.min(lost, this.own(slot)))
    segment[at + RELEASED] = segment[at]!
    segment[at + ENDED] = segment[at + COVERED] = segment[at + SETTLED] = segment[at + TOKENS] = 0
    this.release(slot, counted - open, 0)
  }

  /** Of so many of our own requests; other replicas' are theirs to give back. */
  #meanTokens(slot: number, count: number): number {
    const tokens = this.ownTokens(slot)
    return tokens <= 0 || count <= 0 ? 0 : Math.min(tokens, (tokens * count) / Math.max(1, this.own(slot)))
  }

  /** A data plane tried the endpoint, and had to go to another one. */
  missed(slot: number, nowMs: number): void {
    const segment = this.#segments[slot >> SHIFT]!
    const at = slot & MASK
    const now = seconds(nowMs)
    const before = segment[at + MISSES]!
    const until = segment[at + AVOIDED]!
    // Requests that were on their way when it was avoided already tell nothing new.
    if (before > 0 && ((until - now) | 0) > 0) return
    const doublings = Math.min(before, MOST_DOUBLINGS)
    const forgotten = before > 0 && ((now - until) | 0) > AVOIDED_S << Math.min(before - 1, MOST_DOUBLINGS)
    const misses = forgotten ? 1 : before + 1
    const next = (now + (AVOIDED_S << (forgotten ? 0 : doublings))) | 0
    Atomics.store(segment, at + AVOIDED, next)
    Atomics.store(segment, at + MISSES, Math.min(misses, MOST_DOUBLINGS + 1))
    this.#raise(this.#alarms[slot >> SHIFT]!, next)
  }

  #raise(alarm: Int32Array, until: number): void {
    for (;;) {
      const before = Atomics.load(alarm, 0)
      if (((before - until) | 0) >= 0 && before !== 0) return
      if (Atomics.compareExchange(alarm, 0, before, until) === before) return
    }
  }

  /** False: no endpoint is avoided. True: there may be one. */
  mayAvoid(nowMs: number): boolean {
    const now = seconds(nowMs)
    const alarms = this.#alarms
    for (let i = 0; i < alarms.length; i++) {
      const until = alarms[i]![0]!
      if (until !== 0 && ((until - now) | 0) > 0) return true
    }
    return false
  }

  /** The endpoint has served a request. */
  answered(slot: number): void {
    const segment = this.#segments[slot >> SHIFT]!
    if (segment[(slot & MASK) + MISSES] !== 0) Atomics.store(segment, (slot & MASK) + MISSES, 0)
  }

  isAvoided(slot: number, nowMs: number): boolean {
    const segment = this.#segments[slot >> SHIFT]!
    const at = slot & MASK
    return segment[at + MISSES] !== 0 && ((segment[at + AVOIDED]! - seconds(nowMs)) | 0) > 0
  }

  #own(slot: number, kind: number): number {
    const sum = this.#sum(slot, kind)
    return this.#peers < 0
      ? sum
      : (sum - this.#segments[slot >> SHIFT]![this.#peers * BLOCK + (slot & MASK) + kind]!) | 0
  }

  #sum(slot: number, kind: number): number {
    const segment = this.#segments[slot >> SHIFT]!
    let sum = 0
    for (let at = (slot & MASK) + kind; at < segment.length; at += BLOCK) sum += segment[at]!
    return sum | 0
  }
}

function seconds(nowMs: number): number {
  return (nowMs / 1000) | 0
}
