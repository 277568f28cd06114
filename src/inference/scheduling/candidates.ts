/**
 * The endpoints that one pick chooses among, with their loads, as arrays that are filled anew for each pick. Index = position among
 * the candidates, not slot.
 *
 * An endpoint whose last good scrape is older than `staleMs`, or that was never scraped, has *unknown* load: it is taken as
 * loaded as the worst candidate that is known, plus its own unseen decisions. So it is never preferred to a known one, and a pool
 * without any metrics is balanced by our own counts. Where only some of its numbers are missing (`EndpointTable.missing`), the same is so for these.
 */
import { tpotTarget, ttftTarget } from '../control-headers.ts'
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
  #further: PrefixMatch[] = []
  readonly #primary: PrefixMatch = primaryOf(this)
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
  /** Share of the prompt's blocks that the endpoint presumably holds, 0 … 1. */
  prefix = new Float64Array(0)
  /** 1 where the load is a guess. */
  unknown = new Uint8Array(0)
  /** Candidates whose load is not a guess, before filters. */
  known = 0
  #missing = new Uint8Array(0)
  // Filled by the producers of the plan that need be (./producer.ts).
  /** Tokens of our requests in flight. */
  tokens = new Float64Array(0)
  /** Predicted time to the first token and per output token, ms; NaN = no prediction. */
  ttft = new Float64Array(0)
  tpot = new Float64Array(0)
  /** The aim per output token is taken times this. */
  tpotTargetFactor = 1
  /** Share of the request's images, videos and audios that the endpoint presumably has encoded, 0 … 1. */
  media = new Float64Array(0)
  /** The request's session by the name of the producer that found it. */
  readonly sessions = new Map<string, string>()
  /** Slot that an earlier profile chose for this request (decode before prefill); −1 = none. */
  peer = -1
  /** Id of the LoRA adapter asked for (./../adapter-id.ts); 0 when the model is known to be a base model. */
  adapter = 0
  /** Bytes of the prompt that `prefix` is the share of: whole blocks. 0 when prefixes are not looked at. */
  prefixBytes = 0
  /** The request's headers, where the caller has them. */
  headers: HeaderView | undefined
  /** Bytes of the prompt, as far as they are known. */
  promptBytes = 0
  /** Tokens of the whole prompt, as estimated: four bytes each. Where the prompt was read to its middle, by the body's length. */
  promptTokens = 0
  /** The moment of the pick, Unix ms. */
  nowMs = 0

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
    this.prefix = new Float64Array(capacity)
    this.unknown = new Uint8Array(capacity)
    this.#missing = new Uint8Array(capacity)
    this.tokens = new Float64Array(capacity)
    this.ttft = new Float64Array(capacity)
    this.tpot = new Float64Array(capacity)
    this.media = new Float64Array(capacity)
    for (const match of this.#further) match.share = new Float64Array(capacity)
  }

  /** Prefix cache producers besides the default one. */
  setProducers(names: readonly string[]): void {
    this.#matches.clear()
    for (const name of names) this.#matches.set(name, { share: new Float64Array(this.slots.length), bytes: 0 })
    this.#further = [...this.#matches.values()]
  }

  clear(): void {
    this.count = 0
    this.prefixBytes = 0
    this.peer = -1
    this.promptTokens = 0
    for (let m = 0; m < this.#further.length; m++) this.#further[m]!.bytes = 0
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

  /** Drops the candidates whose `kept[i]` is 0; the others stay in order. */
  keep(kept: Uint8Array): void {
    let to = 0
    for (let i = 0; i < this.count; i++) {
      if (kept[i] === 0) continue
      if (to !== i) {
        this.slots[to] = this.slots[i]!
        this.waiting[to] = this.waiting[i]!
        this.running[to] = this.running[i]!
        this.unseen[to] = this.unseen[i]!
        this.inFlight[to] = this.inFlight[i]!
        this.kvUsage[to] = this.kvUsage[i]!
        this.prefix[to] = this.prefix[i]!
        this.unknown[to] = this.unknown[i]!
        this.tokens[to] = this.tokens[i]!
        this.ttft[to] = this.ttft[i]!
        this.tpot[to] = this.tpot[i]!
        this.media[to] = this.media[i]!
        for (let m = 0; m < this.#further.length; m++) {
          const { share } = this.#further[m]!
          share[to] = share[i]!
        }
      }
      to++
    }
    this.count = to
  }

  add(table: EndpointTable, slot: number, freshSince: number): void {
    const i = this.count++
    this.slots[i] = slot
    this.waiting[i] = table.waiting[slot]!
    this.running[i] = table.running[slot]!
    this.kvUsage[i] = table.kvUsage[slot]!
    const inFlight = table.inFlight(slot)
    this.inFlight[i] = inFlight
    this.unseen[i] = inFlight === 0 ? 0 : table.unseen(slot)
    this.prefix[i] = 0
    for (let m = 0; m < this.#further.length; m++) this.#further[m]!.share[i] = 0
    const at = table.scrapedAt[slot]!
    const unknown = at === 0 || at + table.slack[slot]! < freshSince
    const missing = unknown ? ALL : table.missing[slot]!
    this.unknown[i] = unknown ? 1 : 0
    this.#missing[i] = missing
    if (unknown || (missing & REQUESTS) === 0) return
    // What no number shows we know of our own requests only.
    const waiting = (missing & MissingSignal.WAITING) === 0 ? this.waiting[i] : 0
    const running = (missing & MissingSignal.RUNNING) === 0 ? this.running[i] : 0
    this.unseen[i] = Math.max(this.unseen[i], inFlight - waiting - running)
  }

  /** Gives candidates of unknown load the worst load of the known ones, number by number. Call after the last `add`. */
  guessUnknown(): void {
    let any = 0
    let unknown = 0
    let waiting = 0
    let running = 0
    let kvUsage = 0
    for (let i = 0; i < this.count; i++) {
      const missing = this.#missing[i]!
      any |= missing
      unknown += this.unknown[i]!
      if ((missing & MissingSignal.WAITING) === 0 && this.waiting[i]! > waiting) waiting = this.waiting[i]!
      if ((missing & MissingSignal.RUNNING) === 0 && this.running[i]! > running) running = this.running[i]!
      if ((missing & MissingSignal.KV_USAGE) === 0 && this.kvUsage[i]! > kvUsage) kvUsage = this.kvUsage[i]!
    }
    this.known = this.count - unknown
    if (any === 0) return
    // One more than the worst, or an idle pool's known endpoints would tie with dead ones.
    const more = this.known > 0 ? 1 : 0
    for (let i = 0; i < this.count; i++) {
      const missing = this.#missing[i]!
      if ((missing & MissingSignal.WAITING) !== 0) this.waiting[i] = waiting
      if ((missing & MissingSignal.RUNNING) !== 0) this.running[i] = running + more * this.unknown[i]!
      if ((missing & MissingSignal.KV_USAGE) !== 0) this.kvUsage[i] = kvUsage
    }
  }
}

const REQUESTS = MissingSignal.WAITING | MissingSignal.RUNNING
const ALL = REQUESTS | MissingSignal.KV_USAGE

function primaryOf(candidates: Candidates): PrefixMatch {
  return {
    get share() {
      return candidates.prefix
    },
    set share(share) {
      candidates.prefix = share
    },
    get bytes() {
      return candidates.prefixBytes
    },
    set bytes(bytes) {
      candidates.prefixBytes = bytes
    },
  }
}
