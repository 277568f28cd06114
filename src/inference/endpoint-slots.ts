/**
 * The main thread's side of an endpoint table: which endpoint has which slot, and what scrapes say of it. Other threads adopt
 * `share()` and count; see ./endpoint-table.ts for what slots, generations and counters mean.
 *
 * Lost releases. Where responses release, none is lost: a count belongs to a stream, which ends, or dies with its thread (`threadDied`); what a
 * scrape says settles nothing. An Envoy that goes down takes entries of its access log with it: there `scraped` settles after
 * `SETTLE_AFTER_MS`, and remembers when. An entry that comes all the same is of a request that began before, and is passed over
 * (`releaseLogged`), or it would take away another request's count. Where scrapes release there is nothing to settle.
 */
import {
  ADAPTERS_PER_ENDPOINT,
  ATTRIBUTES_PER_ENDPOINT,
  createEndpointTableState,
  growEndpointTableState,
} from './endpoint-table-state.ts'
import { DecodeRates } from './decode-rates.ts'
import { EndpointState, EndpointTable, MissingSignal, type ReleaseBy, type SlotShare } from './endpoint-table.ts'
import type { ReplicaMetrics } from './replica-metrics.ts'
import type { EndpointPlan } from './pool-plan.ts'
import { PrefillRates } from './prefill-rates.ts'
import { ServiceEstimates } from './service-estimates.ts'

/**
 * Where the access log releases: what an idle replica, to which nothing was decided for so long, still has in flight has lost its entry, ms.
 * Long enough for entries, which come in
 * batches, and for most uploads and prefills elsewhere; one that takes longer is not counted at an idle replica until it is there,
 * and its entry takes nothing from others.
 */
export const SETTLE_AFTER_MS = 15_000

const REQUEST_SIGNALS = MissingSignal.WAITING | MissingSignal.RUNNING
const LOAD_SIGNALS = REQUEST_SIGNALS | MissingSignal.KV_USAGE

export interface EndpointSlotsOptions {
  readonly releaseBy: ReleaseBy
  /** Threads that count, the main thread included. */
  readonly threads: number
  /** Other replicas of Signalbox tell what they have counted. */
  readonly peers?: boolean
}

/**
 * When plans come into force on other threads. Versions only rise; what was freed by version n has no reader left once every thread
 * has adopted n or a later one.
 */
export interface PlanVersion {
  readonly version: number
  /** The newest version that every thread has adopted. */
  readonly adopted: number
}

/** There are no other threads. */
export const ALONE: PlanVersion = { version: 0, adopted: Number.POSITIVE_INFINITY }

export class EndpointSlots {
  /** The main thread's view. */
  readonly table: EndpointTable
  readonly #slots = new Map<string, SlotShare>()
  /** Freed slots that some thread may still pick, and so stay as they are → the version that freed them. */
  readonly #leaving = new Map<number, number>()
  /** All slots below are taken: thousands that come at once must not each look at all. */
  #noneFreeBelow = 0
  /** `decided` when the scrape under way began. */
  #begun: number[] = []
  /** … by this process alone. */
  #begunOwn: number[] = []
  /** Start of the first scrape since which a slot is idle and nothing was decided, Unix ms. */
  #idleSince: (number | undefined)[] = []
  /** When a slot's counts were settled last, Unix ms. */
  #settledAt: (number | undefined)[] = []
  readonly #service = new ServiceEstimates()
  readonly #prefills = new PrefillRates()
  readonly #decodes = new DecodeRates()

  constructor({ releaseBy, threads, peers = false }: EndpointSlotsOptions) {
    this.table = new EndpointTable({ releaseBy, thread: 0 }, createEndpointTableState(1, threads, [], peers), [])
  }

  share(): SlotShare[] {
    return [...this.#slots.values()]
  }

  /**
   * Adds and removes endpoints so that exactly `endpoints` are there (duplicates count once). Returns the slots that were freed, and
   * those that no thread picks any more since: what is remembered of them by slot must go before they get new tenants.
   */
  update(
    endpoints: readonly EndpointPlan[],
    { version, adopted }: PlanVersion,
  ): { readonly freed: readonly number[]; readonly left: readonly number[] } {
    const left: number[] = []
    for (const [slot, freedBy] of this.#leaving) {
      if (freedBy > adopted) continue
      this.#clear(slot)
      left.push(slot)
    }
    const wanted = new Map(endpoints.map(endpoint => [endpoint.address, endpoint]))
    const freed: number[] = []
    for (const [address, { slot }] of this.#slots) {
      if (wanted.has(address)) continue
      this.#slots.delete(address)
      // From now on no release and no scrape counts; a thread with an older plan may still pick it.
      Atomics.add(this.table.currentGeneration, slot, 1)
      freed.push(slot)
      if (adopted < version) this.#leaving.set(slot, version)
      else {
        this.#clear(slot)
        left.push(slot)
      }
    }
    const slots = wanted.size + this.#leaving.size
    const { table } = this
    if (slots > table.capacity) table.adopt(growEndpointTableState(table.state, slots), [])
    for (const [address, { labels }] of wanted) {
      const known = this.#slots.get(address)
      const slot = known?.slot ?? this.#take()
      this.#slots.set(address, { slot, generation: table.currentGeneration[slot]!, address, labels })
    }
    table.adopt(table.state, this.share())
    return { freed, left }
  }

  /** Call a moment before a scrape's request is sent: what is decided from now on may not have reached the replica by then. */
  scrapeBegan(slot: number): void {
    const { counters } = this.table
    counters.cover(slot)
    this.#begun[slot] = counters.decided(slot)
    this.#begunOwn[slot] = counters.ownDecided(slot)
  }

  /**
   * Takes over a good scrape that began at `beganAt` (Unix ms). May settle what lost releases have left behind (head of this file).
   */
  scraped(slot: number, metrics: ReplicaMetrics, beganAt: number): void {
    const { table } = this
    table.waiting[slot] = metrics.waiting
    table.running[slot] = metrics.running
    table.kvUsage[slot] = metrics.kvUsage
    table.blockSize[slot] = metrics.blockSize
    table.blockCount[slot] = metrics.blockCount
    table.maxLora[slot] = metrics.maxLora
    table.runningAdapters[slot] = metrics.runningAdapters
    table.waitingAdapters[slot] = metrics.waitingAdapters
    const adapters = metrics.runningAdapters + metrics.waitingAdapters
    for (let i = 0; i < adapters; i++) table.adapters[slot * ADAPTERS_PER_ENDPOINT + i] = metrics.adapters[i]!
    table.missing[slot] = metrics.missing & LOAD_SIGNALS

    const { counters, releaseBy } = table
    const quiet = counters.decided(slot) === table.observed[slot]
    const generation = table.currentGeneration[slot]!
    for (let ends = counters.takeCovered(slot); ends > 0; ends--) table.unplace(slot, generation)
    const idle = metrics.waiting + metrics.running === 0 && (metrics.missing & REQUEST_SIGNALS) === 0
    if (quiet && idle) this.#settle(slot, beganAt)
    else this.#idleSince[slot] = undefined
    const seen = this.#begun[slot] ?? 0
    table.observed[slot] = seen
    if (releaseBy === 'scrape') {
      counters.release(slot, ((this.#begunOwn[slot] ?? 0) - counters.ownReleased(slot)) | 0)
    }
    table.failures[slot] = 0
    table.scrapedAt[slot] = beganAt
    table.endpointState[slot] = EndpointState.READY
    this.#service.observe(table, slot)
    this.#prefills.observe(table, slot, metrics, beganAt)
    this.#decodes.observe(table, slot, metrics, beganAt)
  }

  /**
   * A thread has died, and with it the streams on which it would have heard that its requests are over: they are over for us. Where the
   * access log or scrapes release, those tell of its requests as of all others, and its counts stay as they are.
   */
  threadDied(thread: number): void {
    const { table } = this
    if (table.releaseBy !== 'response') return
    table.requests.threadDied(thread)
    for (let slot = 0; slot < table.capacity; slot++) table.counters.releaseThread(slot, thread)
  }

  /** The access log tells that a request is over that began at `startedAt` (Unix ms; absent: not known). Tells whether it was counted. */
  releaseLogged(slot: number, startedAt = Number.POSITIVE_INFINITY): boolean {
    if (startedAt < (this.#settledAt[slot] ?? 0)) return false
    this.table.release(slot, this.table.currentGeneration[slot]!)
    return true
  }

  /** The replica was idle at `now`, and nothing was decided since the scrape before. */
  #settle(slot: number, now: number): void {
    const since = (this.#idleSince[slot] ??= now)
    const { counters, releaseBy } = this.table
    if (releaseBy === 'access-log' && now - since >= SETTLE_AFTER_MS) {
      const leaked = counters.own(slot)
      if (leaked !== 0) {
        counters.release(slot, leaked, counters.ownTokens(slot))
        if (leaked > 0) this.table.requests.end(leaked)
        this.#settledAt[slot] = now
      }
      // Entries of endpoints that have left get lost too.
      if (this.table.requests.count > 0 && this.#allIdle(now)) this.table.requests.end(this.table.requests.count)
    }
    this.#settleTokens(slot)
  }

  #allIdle(now: number): boolean {
    const { live, liveCount } = this.table
    for (let i = 0; i < liveCount; i++) if (now - (this.#idleSince[live[i]!] ?? now) < SETTLE_AFTER_MS) return false
    return true
  }

  /** Tokens that are left where no request is: some were given back as a mean. */
  #settleTokens(slot: number): void {
    const { counters, observed } = this.table
    if (counters.own(slot) !== 0) return
    const tokens = counters.ownTokens(slot)
    // In this order: nothing was decided while we looked.
    if (tokens !== 0 && counters.decided(slot) === observed[slot]) counters.addTokens(slot, -tokens)
  }

  #take(): number {
    const { table } = this
    let slot = this.#noneFreeBelow
    while (table.endpointState[slot] !== EndpointState.FREE) slot++
    this.#noneFreeBelow = slot + 1
    table.counters.begin(slot)
    table.observed[slot] = this.#begun[slot] = this.#begunOwn[slot] = 0
    this.#service.begin(table, slot)
    this.#prefills.begin(table, slot)
    this.#decodes.begin(table, slot)
    table.attributes.fill(Number.NaN, slot * ATTRIBUTES_PER_ENDPOINT, (slot + 1) * ATTRIBUTES_PER_ENDPOINT)
    table.endpointState[slot] = EndpointState.READY
    return slot
  }

  /** Nobody picks the slot any more. */
  #clear(slot: number): void {
    const { table } = this
    this.#leaving.delete(slot)
    this.#noneFreeBelow = Math.min(this.#noneFreeBelow, slot)
    table.endpointState[slot] = EndpointState.FREE
    table.waiting[slot] = table.running[slot] = 0
    table.blockSize[slot] = table.blockCount[slot] = 0
    table.maxLora[slot] = table.runningAdapters[slot] = table.waitingAdapters[slot] = 0
    table.failures[slot] = 0
    table.kvUsage[slot] = 0
    table.scrapedAt[slot] = table.slack[slot] = 0
    table.missing[slot] = 0
    this.#idleSince[slot] = this.#settledAt[slot] = undefined
  }
}
