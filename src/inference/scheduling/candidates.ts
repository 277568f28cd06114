/**
 * The endpoints that one pick chooses among, with their loads, as arrays that are filled anew for each pick. Index = position among
 * the candidates, not slot.
 *
 * An endpoint whose last good scrape is older than `staleMs`, or that was never scraped, has *unknown* load: it is taken as
 * loaded as the worst candidate that is known, plus its own unseen decisions. So it is never preferred to a known one, and a pool
 * without any metrics is balanced by our own counts. In a pool that is not scraped, whose endpoints are heard of only with their responses
 * (`heardOnly`), one that was not heard of lately has what we have in flight there, or it would never be asked again. Where only some of its
 * numbers are missing (`EndpointTable.missing`), it is taken for the worst in these.
 */
import { tpotTarget, ttftTarget } from '../control-headers.ts'
import type { MediaHashes } from '../media-hashes.ts'
import type { HeaderView } from '../../extproc/header-view.ts'
import { type EndpointTable, MissingSignal } from '../endpoint-table.ts'

/** As everybody estimates. */
export const BYTES_PER_TOKEN = 4

/** What one prefix cache producer says of the candidates. */
export interface PrefixMatch {
  /** Share of the prompt's blocks that the endpoint presumably holds, 0 … 1; 0 where it was not looked up. */
  share: Float64Array
  /** Bytes of the prompt that `share` is the share of: whole blocks. 0 = not looked up. */
  bytes: number
}

export class Candidates {
  /** What further prefix cache producers say, by their names; the default one's answer is `prefix`. */
  readonly #matches = new Map<string, PrefixMatch>()
  readonly #primary: PrefixMatch = { share: new Float64Array(0), bytes: 0 }
  #allMatches: readonly PrefixMatch[] = [this.#primary]
  /** See `column`. */
  readonly #columns = new Map<string, Float64Array>()
  #allColumns: readonly Float64Array[] = []
  count = 0
  slots = new Int32Array(0)
  /** Requests waiting at the replica. */
  waiting = new Float64Array(0)
  /** Requests in the replica's batch. */
  running = new Float64Array(0)
  /** Decided by us since the last good scrape began: not in the two numbers above yet. */
  unseen = new Float64Array(0)
  /** Decided by us and not known to be over. */
  inFlight = new Float64Array(0)
  /** 0 … 1 */
  kvUsage = new Float64Array(0)
  /** 1 where the load is a guess. */
  unknown = new Uint8Array(0)
  /** Candidates whose load is not a guess, before filters. */
  known = 0
  #missing = new Uint8Array(0)
  /** See above. */
  heardOnly = false
  /** Candidates before filters. */
  #loaded = 0
  /** The plan has producers (./producer.ts): they fill what follows, as far as they need. */
  produced = true
  /** Tokens of our requests in flight. */
  tokens = new Float64Array(0)
  /** Predicted time to the first token and per output token, ms; NaN = no prediction. */
  ttft = new Float64Array(0)
  tpot = new Float64Array(0)
  /** The aim per output token is taken times this. */
  tpotTargetFactor = 1
  /** Share of the request's images, videos and audios that the endpoint presumably has encoded, 0 … 1. */
  media = new Float64Array(0)
  /** Of the request's images, videos and audios, where a plug-in goes by them. */
  mediaHashes: MediaHashes | undefined
  /** The request's session by the name of the producer that found it. */
  readonly sessions = new Map<string, string>()
  /** Slot that an earlier profile chose for this request (decode before prefill); −1 = none. */
  peer = -1
  /** Slot that the request's burst was placed at; −1 = none, or it has gone. */
  burst = -1
  /** Id of the LoRA adapter asked for (./../adapter-id.ts); 0 when the model is known to be a base model. */
  adapter = 0
  /** The request's headers, where the caller has them. */
  headers: HeaderView | undefined
  /** Bytes of the prompt, as far as they are known. */
  promptBytes = 0
  /** Tokens of the whole prompt, as estimated: four bytes each. Where the prompt was read to its middle, by the body's length. */
  promptTokens = 0
  /** Tokens that the client lets the answer have at most; Infinity: it says nothing, or no plug-in asks (`output-cap`). */
  outputCap = Number.POSITIVE_INFINITY
  /** The moment of the pick, Unix ms. */
  nowMs = 0

  /** Share of the prompt's blocks that the endpoint presumably holds, 0 … 1. */
  get prefix(): Float64Array {
    return this.#primary.share
  }

  /** Bytes of the prompt that `prefix` is the share of: whole blocks. 0 when prefixes are not looked at. */
  get prefixBytes(): number {
    return this.#primary.bytes
  }

  set prefixBytes(bytes: number) {
    this.#primary.bytes = bytes
  }

  /** The time to the first token that the client asked for, ms; 0 = none. Read from the headers at each use. */
  get ttftTargetMs(): number {
    return this.headers === undefined ? 0 : ttftTarget(this.headers)
  }

  /** The same per output token. */
  get tpotTargetMs(): number {
    return this.headers === undefined ? 0 : tpotTarget(this.headers)
  }

  reserve(capacity: number): void {
    if (this.slots.length >= capacity) return
    this.slots = new Int32Array(capacity)
    this.waiting = new Float64Array(capacity)
    this.running = new Float64Array(capacity)
    this.unseen = new Float64Array(capacity)
    this.inFlight = new Float64Array(capacity)
    this.kvUsage = new Float64Array(capacity)
    this.unknown = new Uint8Array(capacity)
    this.#missing = new Uint8Array(capacity)
    this.tokens = new Float64Array(capacity)
    this.ttft = new Float64Array(capacity)
    this.tpot = new Float64Array(capacity)
    this.media = new Float64Array(capacity)
    for (const match of this.#allMatches) match.share = new Float64Array(capacity)
    for (const name of this.#columns.keys()) this.#columns.set(name, new Float64Array(capacity))
    this.#allColumns = [...this.#columns.values()]
  }

  /**
   * A value for each candidate under a name of one's own: a user's producer writes it, filters and scorers of the same pick read it. 0 until
   * it is written.
   */
  column(name: string): Float64Array {
    const known = this.#columns.get(name)
    if (known !== undefined) return known
    const made = new Float64Array(this.slots.length)
    this.#columns.set(name, made)
    this.#allColumns = [...this.#columns.values()]
    return made
  }

  /** Prefix cache producers besides the default one. */
  setProducers(names: readonly string[]): void {
    this.#matches.clear()
    for (const name of names) this.#matches.set(name, { share: new Float64Array(this.slots.length), bytes: 0 })
    this.#allMatches = [this.#primary, ...this.#matches.values()]
  }

  clear(): void {
    this.count = 0
    this.peer = -1
    this.promptTokens = 0
    for (let m = 0; m < this.#allMatches.length; m++) {
      const match = this.#allMatches[m]!
      if (match.bytes === 0) continue
      match.bytes = 0
      match.share.fill(0, 0, this.#loaded)
    }
    for (let c = 0; c < this.#allColumns.length; c++) this.#allColumns[c]!.fill(0, 0, this.#loaded)
    // Clearing an empty map allocates.
    if (this.sessions.size > 0) this.sessions.clear()
  }

  /** The answer of the prefix cache producer of this name; undefined: of the default one. */
  matchOf(producer: string | undefined): PrefixMatch {
    return (producer === undefined ? undefined : this.#matches.get(producer)) ?? this.#primary
  }

  /** Tokens of the prompt that the candidate has to compute, as far as this prefix cache producer knows; undefined: the default one. */
  uncachedTokens(i: number, producer?: string): number {
    const { share, bytes } = this.matchOf(producer)
    return bytes === 0 ? this.promptTokens : Math.max(0, this.promptTokens - (share[i]! * bytes) / BYTES_PER_TOKEN)
  }

  /**
   * The candidates are `slots[0, count)`: takes in their loads. Where the last good scrape began before `freshSince` (Unix ms) they are a
   * guess.
   */
  load(table: EndpointTable, freshSince: number): void {
    const { count, slots, waiting, running, kvUsage, unknown } = this
    this.#loaded = count
    const missing = this.#missing
    let any = 0
    let guesses = 0
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!
      const at = table.scrapedAt[slot]!
      const guess = at === 0 || at + table.slack[slot]! < freshSince ? 1 : 0
      const bits = guess === 0 ? table.missing[slot]! : ALL
      any |= bits
      guesses += guess
      missing[i] = bits
      unknown[i] = guess
      waiting[i] = table.waiting[slot]!
      running[i] = table.running[slot]!
      kvUsage[i] = table.kvUsage[slot]!
    }
    this.known = count - guesses
    table.counters.open(slots, count, table.observed, this.inFlight, this.unseen)
    if (guesses > 0 && this.heardOnly) this.#count()
    else if (any !== 0) this.#guess()
  }

  /** Requests at a candidate: those that we know of, or that its own numbers tell of and what was decided since. */
  underWay(i: number, table: EndpointTable): number {
    const ours = this.inFlight[i]!
    if (this.unknown[i] !== 0 || (table.missing[this.slots[i]!]! & REQUESTS) !== 0) return ours
    return Math.max(ours, this.waiting[i]! + this.running[i]! + this.unseen[i]!)
  }

  /** Candidates of unknown load have what we have sent to them. */
  #count(): void {
    const { count, unknown } = this
    for (let i = 0; i < count; i++) {
      if (unknown[i] === 0) continue
      this.running[i] = this.inFlight[i]!
      this.waiting[i] = this.unseen[i] = this.kvUsage[i] = 0
      this.#missing[i] = 0
    }
    this.#guess()
  }

  /** Gives candidates of unknown load the worst load of the known ones, number by number. */
  #guess(): void {
    const { count, waiting, running, kvUsage } = this
    const missing = this.#missing
    let worstWaiting = 0
    let worstRunning = 0
    let worstUsage = 0
    for (let i = 0; i < count; i++) {
      const bits = missing[i]!
      if ((bits & MissingSignal.WAITING) === 0) worstWaiting = Math.max(worstWaiting, waiting[i]!)
      if ((bits & MissingSignal.RUNNING) === 0) worstRunning = Math.max(worstRunning, running[i]!)
      if ((bits & MissingSignal.KV_USAGE) === 0) worstUsage = Math.max(worstUsage, kvUsage[i]!)
    }
    // One more than the worst, or an idle pool's known endpoints would tie with dead ones.
    const more = this.known > 0 ? 1 : 0
    for (let i = 0; i < count; i++) {
      const bits = missing[i]!
      if (bits === 0) continue
      // What no number shows we know of our own requests only.
      if (this.unknown[i] === 0 && (bits & REQUESTS) !== 0) {
        const shown =
          ((bits & MissingSignal.WAITING) === 0 ? waiting[i]! : 0) +
          ((bits & MissingSignal.RUNNING) === 0 ? running[i]! : 0)
        this.unseen[i] = Math.max(this.unseen[i]!, this.inFlight[i]! - shown)
      }
      if ((bits & MissingSignal.WAITING) !== 0) waiting[i] = worstWaiting
      if ((bits & MissingSignal.RUNNING) !== 0) running[i] = worstRunning + more * this.unknown[i]!
      if ((bits & MissingSignal.KV_USAGE) !== 0) kvUsage[i] = worstUsage
    }
  }

  /** Drops the candidates whose `kept[i]` is 0; the others stay in order. */
  keep(kept: Uint8Array): void {
    const { count } = this
    let first = 0
    while (first < count && kept[first] !== 0) first++
    if (first === count) return
    this.count = move(this.slots, kept, first, count)
    move(this.waiting, kept, first, count)
    move(this.running, kept, first, count)
    move(this.unseen, kept, first, count)
    move(this.inFlight, kept, first, count)
    move(this.kvUsage, kept, first, count)
    move(this.unknown, kept, first, count)
    for (let m = 0; m < this.#allMatches.length; m++) move(this.#allMatches[m]!.share, kept, first, count)
    for (let c = 0; c < this.#allColumns.length; c++) move(this.#allColumns[c]!, kept, first, count)
    if (!this.produced) return
    move(this.tokens, kept, first, count)
    move(this.ttft, kept, first, count)
    move(this.tpot, kept, first, count)
    move(this.media, kept, first, count)
  }
}

type Column = Int32Array | Float64Array | Uint8Array

const REQUESTS = MissingSignal.WAITING | MissingSignal.RUNNING
const ALL = REQUESTS | MissingSignal.KV_USAGE

/** Moves the values that stay together, from `first` on, and returns how many there are. */
function move(values: Column, kept: Uint8Array, first: number, count: number): number {
  let to = first
  for (let i = first; i < count; i++) if (kept[i] !== 0) values[to++] = values[i]!
  return to
}
